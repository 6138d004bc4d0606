"""Why a run is another one: what differs between two runs, or a config and the last run of its name."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from headway.cloud.services import Services
from headway.errors import NotFound
from headway.jobs import planning
from headway.jobs.claim import read_plan, same_run
from headway.jobs.planning import PreviewStep
from headway.jobs.preparing import Prepared, prepare_and_ask
from headway.spec import layout
from headway.spec.place import Place
from headway.spec.plan import Plan

What = Literal["code", "lock", "image", "data", "config"]
Values = Mapping[str, str]

_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(===?|@)\s*(\S+)")


@dataclass(frozen=True)
class Difference:
    """One thing that differs: `before` and `after` are its values, None on the side that does not have it.

    `name` is a file, a package, a part of the image, a data path or a dotted key; a file's values are
    digests.
    """

    what: What
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Why:
    """What differs from the run `before` to `after`; with `steps`, what a submit would do about it."""

    before: str | None
    after: str
    differences: tuple[Difference, ...]
    steps: tuple[PreviewStep, ...] = ()

    def document(self) -> dict[str, Any]:
        """The stable JSON document of `launch why --json`."""
        return {
            "before": self.before,
            "after": self.after,
            "differences": [vars(difference) for difference in self.differences],
            "steps": [vars(step) for step in self.steps],
        }


@dataclass(frozen=True)
class _Content:
    """What a run is made of, name -> value by kind; `files` and `lock` are read only where they differ."""

    plan: Plan
    files: Callable[[], Values]
    lock: Callable[[], Values]


def why_two(before: str, after: str, place: Place, *, services: Services | None = None) -> Why:
    """What differs between two runs. Raises NotFound where there is none of that id."""
    services = services or Services(place)
    one, other = (_of_run(read_plan(run_id, services), services) for run_id in (before, after))
    return Why(before, after, tuple(_differences(one, other)))


def why_anew(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    place: Place,
    services: Services | None = None,
) -> Why:
    """What a submit would build, send or run anew, and what differs from the last run of that name."""
    services = services or Services(place)
    prepared, found = prepare_and_ask(config, overrides=overrides, flags=flags, services=services)
    steps = planning.seen(prepared, found, services).steps
    last = _last_run(prepared.plan, services)
    if last is None:
        return Why(None, prepared.plan.run_id, (), steps)
    differences = tuple(_differences(_of_run(last, services), _of_project(prepared)))
    return Why(last.run_id, prepared.plan.run_id, differences, steps)


def _last_run(plan: Plan, services: Services) -> Plan | None:
    """This very content's run, or else the newest one of its name in the plan's regions."""
    try:
        return same_run(plan, services)
    except NotFound:
        pass
    jobs = [
        job
        for region in plan.regions
        for job in [next(iter(services.jobs(region).labelled(layout.LABEL_NAME, plan.name)), None)]
        if job is not None and job.created is not None
    ]
    for job in sorted(jobs, key=lambda job: str(job.created), reverse=True):
        try:
            return read_plan(job.labels[layout.LABEL_RUN], services)
        except NotFound:
            continue  # its folder in the bucket is gone
    return None


def _of_run(plan: Plan, services: Services) -> _Content:
    lockfile = str(plan.config["environment"]["requirements"])

    def bundle() -> Iterator[tuple[str, bytes]]:
        stream = services.store.stream(plan.layout.bundle(plan.code.digest))
        with tarfile.open(fileobj=cast(IO[bytes], _Stream(stream)), mode="r|") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                yield member.name, file.read() if file else member.linkname.encode()

    return _Content(
        plan,
        lambda: {name: _digest(data) for name, data in bundle()},
        lambda: next((_entries(data) for name, data in bundle() if name == lockfile), {}),
    )


def _of_project(prepared: Prepared) -> _Content:
    root, environment = prepared.loaded.root, prepared.loaded.spec.environment

    def read(path: str) -> bytes:
        file = root / path
        return str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()

    return _Content(
        prepared.plan,
        lambda: {file.path: _digest(read(file.path)) for file in prepared.bundle.files},
        lambda: _entries((root / environment.requirements).read_bytes()),
    )


def _differences(before: _Content, after: _Content) -> Iterator[Difference]:
    one, other = before.plan, after.plan
    yield from _between("config", _flat(one.content["config"]), _flat(other.content["config"]))
    if one.code.digest != other.code.digest:
        yield from _between("code", before.files(), after.files())
    if one.image.digest != other.image.digest:
        lock = tuple(_between("lock", before.lock(), after.lock()))
        yield from lock
        if not lock and one.image.base == other.image.base:
            # neither packages nor base: the Dockerfile, or what headway itself brings into the image
            yield Difference("image", "headway's own part", one.image.digest[:12], other.image.digest[:12])
    yield from _between("data", _pins(one), _pins(other))


def _between(what: What, before: Values, after: Values) -> Iterable[Difference]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Difference(what, name, before.get(name), after.get(name))


def _pins(plan: Plan) -> Values:
    return {pin.path: f"{pin.md5[:12]}, {pin.files} files, {pin.size:,} bytes" for pin in plan.data}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Values:
    """Dotted keys; where wheels come from is no content."""
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{name}."))
        elif name != "environment.wheelhouse" and value is not None:  # a key that is newer than a run is null
            found[name] = str(value)
    return found


def _entries(lockfile: bytes) -> Values:
    """Package -> version of a pip requirements file; lines of another form stand for themselves."""
    found: dict[str, str] = {}
    for line in lockfile.decode("utf-8", errors="replace").splitlines():
        text = line.split(" #")[0].strip().rstrip("\\").strip()
        if not text or text.startswith(("#", "--hash")):
            continue
        match = _LOCKED.match(text)
        name, version = (match[1].lower().replace("_", "-"), match[3]) if match else (text, "as it is")
        found[name] = version
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file that is read once, from its beginning."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        end = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:end], self._rest[end:]
        return taken
