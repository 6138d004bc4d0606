"""One module a Google service, each over `session`: project, credentials, endpoints."""
