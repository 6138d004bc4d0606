"""Secret Manager: the value of a secret, read where the job runs."""

from __future__ import annotations

import base64

from headway.cloud.session import Session
from headway.errors import InputError


def access(session: Session, reference: str) -> str:
    """The value of `secret`, `secret/version` or a full resource name.

    Raises NotFound, RemoteError, and InputError where it is not text.
    """
    if reference.startswith("projects/"):
        name = reference
    else:
        secret, _, version = reference.partition("/")
        name = f"projects/{session.project}/secrets/{secret}/versions/{version or 'latest'}"
    url = f"{session.endpoint('secretmanager')}/v1/{name}:access"
    reply = session.call("GET", url, f"cannot read the secret {reference}")
    try:
        return base64.b64decode(reply["payload"]["data"]).decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the secret {reference} is not text, so it cannot be an environment variable",
            hint="store it as base64 text, and decode it in the training code",
        ) from error
