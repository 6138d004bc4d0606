"""What is sent to Google as it is: the Dockerfile, the runtime's requirements, build spec and function."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from headway.errors import MachineError

_IN_CHECKOUT = {
    "trainer.Dockerfile": "containers",
    "runtime-requirements.txt": "containers",
    "trainer.yaml": "cloudbuild",
    "function/main.py": "infra",
    "function/requirements.txt": "infra",
}


def read(name: str) -> bytes:
    """An asset's bytes: from headway/_assets in an install, from its own folder in a checkout.

    Raises MachineError where the installation is not whole, KeyError for a name that is no asset.
    """
    folder = _IN_CHECKOUT[name]
    package = files("headway")
    installed = package / "_assets" / name
    if installed.is_file():
        return installed.read_bytes()
    checkout = Path(str(package)).parents[1] / folder / name
    try:
        return checkout.read_bytes()
    except OSError as error:
        raise MachineError(
            f"this installation of headway lacks {name}",
            hint="install it again from its wheel or checkout: pip install --force-reinstall PATH",
        ) from error
