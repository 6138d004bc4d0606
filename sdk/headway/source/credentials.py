"""Does a file look like a credential? By its name, or by a private key in it."""

from __future__ import annotations

import re

_SCANNED_BYTES = 1 << 20
_NAMES = frozenset(
    {
        *("credentials.json", "application_default_credentials.json", ".git-credentials"),
        *(".netrc", "_netrc", ".pypirc", ".boto", ".dockercfg"),
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"),
    }
)
_SUFFIXES = (".p12", ".pfx", ".jks", ".ppk", ".kdbx")
_KEY = re.compile(rb"(?:^|\")-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\r?$|\\n)", re.MULTILINE)
_REFRESH = re.compile(rb"\"refresh_token\"\s*:\s*\"[^\"]{20,}\"")
_NPM_TOKEN = re.compile(rb"^\s*[^#;\s]*(?:_authToken|_auth|_password)\s*=\s*[^$\s]", re.MULTILINE)
_PUBLIC = (b"BEGIN CERTIFICATE", b"BEGIN PUBLIC KEY", b"BEGIN X509 CRL", b"BEGIN DH PARAMETERS")


def credential_in(path: str, data: bytes) -> str | None:
    """What credential a file seems to hold, or None."""
    name = path.rpartition("/")[2]
    head = data[:_SCANNED_BYTES]
    if name in _NAMES or name.endswith(_SUFFIXES):
        return "its name is that of a credential file"
    if b"PRIVATE KEY" in head and _KEY.search(head):
        service_account = b'"service_account"' in head
        return "it is a service account's key" if service_account else "there is a private key in it"
    if b"refresh_token" in head and b"client_secret" in head and _REFRESH.search(head):
        return "there is a refresh token in it"
    if name.endswith(".pem") and not any(kind in head for kind in _PUBLIC):
        return "its name is that of a key file"
    if name == ".npmrc" and _NPM_TOKEN.search(head):
        return "there is a registry's token in it"
    return None
