"""A private certificate authority for *.googleapis.com, one for each state folder, trusted by nobody else.

Several states share one by a link `ca` to a folder: a program that asks several emulators needs that, because
gRPC reads the roots that it trusts once in a process's life.

Its certificate is limited to that domain (RFC 5280, name constraints), so that even a stolen key cannot
stand in for any other site. Private keys are readable by their owner alone.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import ssl
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from headway_emulator.hosts import DOMAIN

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ALPN = ("http/1.1", "h2")
"""In our order of preference: whoever offers both is no gRPC client, which offers h2 alone."""
AUTHORITY_DAYS = 3650
LEAF_DAYS = 397
"""The longest life that clients accept of a server's certificate."""
RENEW_DAYS = 30
BACKDATED = datetime.timedelta(days=1)
"""For clients in containers or virtual machines whose clock is a little behind."""
ROOTS = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that may name further roots this machine needs, for instance a company's."""
CONTEXTS = 256
FOLDER = "ca"
"""In the state."""


def of(state: Path) -> Authority:
    """The one authority of a state folder in this process."""
    return _of(state.resolve())


class Authority:
    """The authority of one state folder, made when it is first needed; safe for many threads."""

    def __init__(self, state: Path) -> None:
        self.folder = (state / FOLDER).resolve()
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._bundled = False

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def bundle(self, environment: Mapping[str, str] = os.environ) -> Path:
        """What clients are told to trust: the usual roots, for tunnels, and this authority."""
        path = self.folder / "bundle.pem"
        with self._lock:
            self._ensure()
            if not self._bundled:
                named = [name for name in map(environment.get, ROOTS) if name and Path(name) != path]
                _write(path, b"\n".join([*_roots(named), self.certificate.read_bytes()]), 0o644)
                self._bundled = True
        return path

    def context(self, host: str) -> ssl.SSLContext:
        """For answering as `host`, with a certificate that is kept in the folder."""
        with self._lock:
            found = self._contexts.get(host)
            if found is None:
                self._ensure()
                if len(self._contexts) >= CONTEXTS:
                    self._contexts.clear()
                found = self._contexts[host] = self._context(host)
        return found

    def _context(self, host: str) -> ssl.SSLContext:
        path = self.folder / "hosts" / f"{host}.pem"
        if not _lasts(path):
            _issue(host, path, self.folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(list(ALPN))
        context.load_cert_chain(path)
        return context

    def _ensure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "hosts").mkdir(exist_ok=True, mode=0o700)
        lock = self.folder / "lock"
        lock.touch(mode=0o600)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another emulator may share the folder
            if _lasts(self.certificate) and (self.folder / "key.pem").exists():
                return
            for old in (self.folder / "hosts").iterdir():
                old.unlink()
            _found(self.folder)


_of = cache(Authority)


def _found(folder: Path) -> None:
    """Make the authority: the key first, so that a certificate on disk always has its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Headway emulator (for this stack only)")
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # signs, nothing else
    only_google = x509.NameConstraints([x509.DNSName(DOMAIN)], None)
    certificate = (
        _builder(name, name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(only_google, critical=True)
        .add_extension(public, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "key.pem", _pem(key), 0o600)
    _write(folder / "ca.pem", _text(certificate), 0o644)


def _issue(host: str, path: Path, folder: Path) -> None:
    """A certificate and key for one host, in one file as ssl wants them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    loaded = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{folder / 'key.pem'} is no elliptic curve key: delete {folder}")
    key = ec.generate_private_key(ec.SECP256R1())
    public = x509.AuthorityKeyIdentifier.from_issuer_public_key(loaded.public_key())
    server = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        # the subject's common name may have 64 characters, a host more: clients read the alternative name
        _builder(_name("Headway emulator"), issuer.subject, key, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(server, critical=False)
        .add_extension(public, critical=False)
        .sign(loaded, hashes.SHA256())
    )
    _write(path, _pem(key) + _text(certificate), 0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days) - BACKDATED)
    )


def _name(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, plain)


def _text(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _lasts(path: Path) -> bool:
    """Whether the certificate is there and good for a while."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW_DAYS)
    return certificate.not_valid_after_utc > soon


def _roots(named: Iterable[str]) -> Iterable[bytes]:
    """certifi's, and those that this machine was told to trust besides."""
    import certifi

    paths = [Path(name) for name in dict.fromkeys([certifi.where(), *named])]
    return [path.read_bytes() for path in paths if path.is_file()]


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says, not even for a moment."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    partial.replace(path)
