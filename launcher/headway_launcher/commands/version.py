"""`launch version`."""

from __future__ import annotations

from headway_launcher.options import Json
from headway_launcher.version import version as installed


def version(as_json: Json = False) -> None:
    """Print the version."""
    from headway_launcher.render import screen

    out = screen(as_json=as_json)
    if as_json:
        out.document({"version": installed()})
    else:
        out.line(f"headway {installed()}")
