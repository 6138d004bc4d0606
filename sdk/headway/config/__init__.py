"""config.yaml, its overrides and the profile, read into values; the one layer that reads the environment."""

from headway.config.files import check_files
from headway.config.load import Loaded, load, relaid

__all__ = ["Loaded", "check_files", "load", "relaid"]
