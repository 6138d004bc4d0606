"""The transparent way in: by environment variables alone, with every client's default endpoints."""
