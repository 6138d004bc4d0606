"""`launch data push`: the config's data to the place's DVC remote."""

from __future__ import annotations

from collections.abc import Callable

from headway_launcher import options
from headway_launcher.place import Where, config_and_overrides
from headway_launcher.render import screen


def push(
    words: options.Words = None,
    profile: options.Profile = None,
    local: options.Local = False,
    as_json: options.Json = False,
) -> None:
    """Send the data that the config names to the DVC remote, as `dvc push` does."""
    from headway import jobs
    from headway.config import load
    from headway.errors import interruptible

    config, overrides = config_and_overrides(words)
    loaded = load(config, overrides)
    out = screen(as_json=as_json)
    paths = list(loaded.spec.tracked)
    if paths:
        place = Where(profile, local).find(config)
        with (
            out.progress(f"sending {', '.join(paths)} to {place.dvc_remote}"),
            interruptible("stopped while the data was being sent", "what was sent is kept: run it again"),
        ):
            version = jobs.push_data(loaded, place)
        remote: str | None = place.dvc_remote
    else:
        remote = version = None
    if as_json:
        since = version.time.isoformat() if version else None
        out.document({"paths": paths, "remote": remote, "latest_since": since})
    else:
        out.say(f"{', '.join(paths)} is in {remote}" if paths else f"{loaded.path} names no data")


COMMANDS: dict[str, Callable[..., None]] = {"push": push}
