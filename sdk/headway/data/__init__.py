"""Data as DVC tracks it: which version a run sees, and how its bytes travel."""
