"""What the shell completes: cheap local facts only, no network; silent where there are none."""

from __future__ import annotations


def gpus(incomplete: str) -> list[str]:
    """GPU names of the catalogue, and after `name:` the counts that some machine has."""
    from headway.spec.machines import catalogue

    known = catalogue().gpus
    name, colon, _ = incomplete.partition(":")
    if colon and name in known:
        return [f"{name}:{count}" for count in known[name].counts]
    return [gpu for gpu in (*known, "none") if gpu.startswith(incomplete)]


def run_ids(incomplete: str) -> list[str]:
    """The local stack's runs, newest first, read from its storage folder."""
    return _below("runs", incomplete)


def sweep_ids(incomplete: str) -> list[str]:
    """The local stack's sweeps, newest first."""
    return _below("sweeps", incomplete)


def _below(kind: str, incomplete: str) -> list[str]:
    from headway.config.profile import default_state
    from headway_launcher.stack.record import BUCKET, Folder

    folder = Folder(default_state() / "local").storage / BUCKET / "headway" / kind
    if not folder.is_dir():
        return []
    runs = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    return [run.name for run in runs if run.name.startswith(incomplete)]
