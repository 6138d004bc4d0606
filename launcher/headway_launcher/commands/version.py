"""`launch version`."""

from __future__ import annotations

from headway import __version__
from headway_launcher.options import Json


def version(as_json: Json = False) -> None:
    """Print the version."""
    from headway_launcher.render import screen

    out = screen(as_json=as_json)
    if as_json:
        out.document({"version": __version__})
    else:
        out.line(f"headway {__version__}")
