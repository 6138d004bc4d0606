"""The variables of a function's process.

Sources: https://cloud.google.com/functions/docs/configuring/env-var (set automatically by newer runtimes) and
https://cloud.google.com/run/docs/container-contract.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headway_emulator import authority, environment
from headway_emulator.engine.builds import secrets
from headway_emulator.engine.executors.processes import INHERITED
from headway_emulator.engine.store import Document, Store
from headway_emulator.settings import Settings

THREADS = 16
"""Calls that one process answers side by side; Google starts more instances instead."""


def of_instance(
    settings: Settings, store: Store, name: str, revision: str, function: Document, now: str
) -> dict[str, str]:
    """Its own, its secrets', those that the platform sets, and the way to the emulator. builds.site.Ended."""
    service = name.rsplit("/", 1)[1]
    config = function["serviceConfig"]
    folder = settings.state / "functions" / revision
    wiring = environment.of_function(settings, authority.of(settings.state).bundle())
    asked = [
        {"env": secret["key"], "versionName": _version(settings, secret)}
        for secret in config.get("secretEnvironmentVariables", ())
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **{variable: os.environ[variable] for variable in INHERITED if variable in os.environ},
        **config.get("environmentVariables", {}),
        **secrets.values(store, asked, settings.project, settings.project_number, now),
        "FUNCTION_TARGET": function["buildConfig"]["entryPoint"],
        "FUNCTION_SIGNATURE_TYPE": "http",
        "K_SERVICE": service,
        "K_REVISION": revision,
        "K_CONFIGURATION": service,
        "PORT": "8080",
        "CLOUD_RUN_TIMEOUT_SECONDS": str(config["timeoutSeconds"]),
        "THREADS": str(THREADS),
        "THREADED_TIMEOUT_ENABLED": "true",
        "HOME": str(folder),
        "PATH": path,
        **wiring.set,
    }


def _version(settings: Settings, secret: Document) -> str:
    """The full name of a secret's version; the project is the function's own where none is given."""
    project = secret.get("projectId") or settings.project
    return f"projects/{project}/secrets/{secret['secret']}/versions/{secret.get('version') or 'latest'}"
