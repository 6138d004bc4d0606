"""What a gRPC method is: its messages and HTTP rules, read from Google's client package for its service.

A package is imported when the first call to one of its services comes. Its gRPC transport knows the messages,
and its REST transport the HTTP rules; where a package has no REST transport, `rules` has them.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from headway_emulator import hosts
from headway_emulator.transparent.rules import MIXINS, POLICIES, RULES

VERSION = re.compile(r"v\d+\w*")

_IMPORTING = threading.RLock()
"""The packages' modules import each other in circles, which two threads at once do not survive."""


class Unknown(Exception):
    """No such method here; the message says which and why."""


@dataclass(frozen=True)
class Method:
    """`prefix` is where the emulator has the service; None for a method that every service has."""

    name: str
    request: type[Message]
    reply: type[Message]
    rules: Sequence[Mapping[str, str]]
    prefix: str | None
    streams: bool = False
    """Whether there may be many replies to a request."""


def find(name: str) -> Method:
    """The method SERVICE/METHOD with its full service name; Unknown where this emulator has none."""
    with _IMPORTING:
        return _find(name)


@lru_cache(maxsize=2048)
def _find(name: str) -> Method:
    service, _, method = name.partition("/")
    if service in MIXINS:
        request, reply = _described(MIXINS[service], service, method)
        return Method(name, request, reply, _rules(name, None, method), None)
    package = _package(service)
    if package is None:
        raise Unknown(f"{service}, for which no client package is installed beside it")
    short = service.rpartition(".")[2]
    transports = f"{package}.services.{_snake(short)}.transports"
    if not _installed(f"{package}.services.{_snake(short)}"):
        raise Unknown(service)
    transport = getattr(import_module(f"{transports}.grpc"), f"{short}GrpcTransport")
    channel = _Recorder()
    made = transport(channel=channel)
    prefix = hosts.prefix(transport.DEFAULT_HOST)
    if prefix is None:
        raise Unknown(f"{service} ({transport.DEFAULT_HOST})")
    # AttributeError: no such method, or an interceptor that wants more of the channel than it has
    with contextlib.suppress(_Recorded, AttributeError):
        getattr(made, _snake(method))(None)
    if (types := channel.seen.get(f"/{name}")) is None:
        raise Unknown(name)
    # of a plain message, which only IAM's requests are, a transport's serializer does not show the class
    asked = _message(types[0]) or _described(MIXINS[POLICIES], POLICIES, method)[0]
    replied = _message(types[1])
    if replied is None:
        raise Unknown(f"{name}, which has a reply of an unknown kind")
    rules = _rules(name, f"{transports}.rest_base", method)
    return Method(name, asked, replied, rules, prefix, f"/{name}" in channel.streams)


@lru_cache(maxsize=2048)
def know(type_url: str) -> None:
    """Import the package that has the message, so that it can be read inside an Any."""
    with _IMPORTING:
        _know(type_url.rpartition("/")[2])


def _know(name: str) -> None:
    if name.startswith("google.rpc."):
        import_module("google.rpc.error_details_pb2")
    elif not name.startswith("google.protobuf.") and (package := _package(name)) is not None:
        import_module(package)


class _Recorded(Exception):
    """A transport made a call on its channel, having asked for the method."""


def _uncallable(*_: Any, **__: Any) -> None:
    """What a channel to nowhere makes: the method is noted by now."""
    raise _Recorded


class _Recorder(grpc.Channel):  # type: ignore[misc,unused-ignore]
    """A channel to nowhere, which notes with what functions a transport writes and reads messages."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[Any, Any]] = {}
        self.streams: set[str] = set()

    def unary_unary(self, method: str, request: Any = None, reply: Any = None, *_: Any, **given: Any) -> Any:
        self.seen[method] = (
            given.get("request_serializer", request),
            given.get("response_deserializer", reply),
        )
        return _uncallable

    def unary_stream(self, method: str, *given: Any, **named: Any) -> Any:
        self.streams.add(method)
        return self.unary_unary(method, *given, **named)

    stream_unary = unary_unary
    stream_stream = unary_stream

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        """Never connected."""

    def unsubscribe(self, callback: Any) -> None:
        """Never connected."""

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


def _message(function: Any) -> type[Message] | None:
    """The class that a bound serializer or deserializer belongs to, without proto-plus's wrapping."""
    owner = getattr(function, "__self__", None)
    if not isinstance(owner, type):
        return None
    plain: type[Message] = owner.pb() if hasattr(owner, "pb") else owner
    return plain


def _described(module: str, service: str, method: str) -> tuple[type[Message], type[Message]]:
    """Request and reply of a method that a module of compiled definitions describes."""
    if not _installed(module):
        raise Unknown(f"{service}/{method}, which needs {module}")
    services = import_module(module).DESCRIPTOR.services_by_name
    found = services[service.rpartition(".")[2]].methods_by_name.get(method)
    if found is None:
        raise Unknown(f"{service}/{method}")
    made = message_factory.GetMessageClass
    return made(found.input_type), made(found.output_type)


def _rules(name: str, rest_base: str | None, method: str) -> Sequence[Mapping[str, str]]:
    """In the order in which they are tried."""
    if name in RULES:
        return [
            {"method": verb, "uri": uri, **({"body": body} if body else {})}
            for verb, uri, body in RULES[name]
        ]
    if rest_base is None or not _installed(rest_base):
        raise Unknown(f"{name}, whose HTTP form it does not know")
    for holder in vars(import_module(rest_base)).values():
        if isinstance(holder, type) and hasattr(rule := getattr(holder, f"_Base{method}", None), OPTIONS):
            found: Sequence[Mapping[str, str]] = getattr(rule, OPTIONS)()
            return found
    raise Unknown(f"{name}, which has no HTTP form")


OPTIONS = "_get_http_options"
"""Of a REST transport's class for one method: its rules."""


def _package(name: str) -> str | None:
    """The installed package of a service or message: for google.cloud.scheduler.v1 it is scheduler_v1."""
    return next((package for package in _candidates(name.split(".")) if _installed(package)), None)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of what is above it
        return False


def _candidates(parts: Sequence[str]) -> Iterator[str]:
    at = next((n for n, part in enumerate(parts) if VERSION.fullmatch(part)), 0)
    words = [part for part in parts[:at] if part not in ("google", "cloud")]
    if parts[0] != "google" or not words:
        return
    version = parts[at]
    yield f"google.cloud.{'.'.join(words)}_{version}"
    yield f"google.cloud.{'_'.join(words)}_{version}"
    yield f"google.cloud.{words[-1]}_{version}"
    yield f"google.{'.'.join(words)}_{version}"


def _snake(name: str) -> str:
    """As Google's generator spells modules and methods: LoggingServiceV2 is logging_service_v2."""
    spaced = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", spaced).lower()
