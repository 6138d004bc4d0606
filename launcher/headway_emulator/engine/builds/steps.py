"""One step of a build as a command: Docker's own CLI for the docker builder, a container for any other."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headway_emulator.engine.images.images import Images

DOCKER_BUILDER = "gcr.io/cloud-builders/docker"
WORKSPACE = "/workspace"
HOME = "/builder/home"
OUTPUTS = "/builder/outputs"
LABEL = "headway-emulator.build"
SWEEP_SECONDS = 30
INHERITED = (
    "PATH",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "LANG",
    "TMPDIR",
)


class StepError(Exception):
    """A step that cannot be run at all; the message is for the build's log."""


@dataclass(frozen=True)
class Step:
    """A step with everything filled in; `folder` has the build's workspace/, home/, volumes/ and scripts."""

    build: str
    index: int
    spec: Mapping[str, Any]
    env: Sequence[str]
    folder: Path
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values by variable: they go by the environment, never by a command line."""
    volumes: Sequence[Mapping[str, str]] = ()
    """The build's and the step's, each with `name` and `path`."""

    @property
    def image(self) -> str:
        return str(self.spec["name"])

    @property
    def args(self) -> list[str]:
        return list(self.spec.get("args", []))

    @property
    def is_docker(self) -> bool:
        return self.image.split("@")[0].removesuffix(":latest") == DOCKER_BUILDER

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def output(self) -> Path:
        """What the step writes there is its output (Results.build_step_outputs)."""
        return self.folder / "outputs" / str(self.index) / "output"

    @property
    def mounts(self) -> dict[str, Path]:
        """Folders of this machine by their path in the step's container."""
        named = {volume["path"]: self.folder / "volumes" / volume["name"] for volume in self.volumes}
        return {WORKSPACE: self.workspace, HOME: self.folder / "home", OUTPUTS: self.output.parent, **named}

    @property
    def inside(self) -> str:
        """The working directory in the container; the spec's `dir` is relative to the workspace."""
        folder = str(self.spec.get("dir", ""))
        return os.path.normpath(folder if folder.startswith("/") else f"{WORKSPACE}/{folder}")

    def make_folders(self) -> None:
        for folder in self.mounts.values():
            folder.mkdir(parents=True, exist_ok=True)

    def on_host(self, word: str) -> str:
        """A path in the container as the path of this machine; any other word as it is."""
        for path, folder in self.mounts.items():
            if word == path or word.startswith(f"{path}/"):
                return f"{folder}{word.removeprefix(path)}"
        return word

    def host_folder(self) -> Path:
        folder = Path(self.on_host(self.inside))
        if not folder.is_dir():
            raise StepError(f'the step\'s dir "{self.spec.get("dir", "")}" is not in the source')
        return folder

    def script(self, text: str) -> Path | None:
        """`text` as an executable file, None where it is empty; the shell's unless it says otherwise."""
        if not text:
            return None
        path = self.folder / f"script-{self.index}"
        path.write_text(text if text.startswith("#!") else f"#!/bin/sh\nset -e\n{text}")
        path.chmod(0o755)
        return path


@dataclass(frozen=True)
class Command:
    """What to start, where, and what to run to stop what it started elsewhere."""

    words: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    stop: Sequence[str] = ()
    notes: Sequence[str] = ()
    """Said in the build's log before it starts."""


class StepRunner(Protocol):
    """How this emulator runs steps."""

    images: Images

    def fetch(self, step: Step) -> Command | None:
        """What brings the step's image to this machine; None where it is here or none is used."""

    def plan(self, step: Step) -> Command | list[str]:
        """A command, or the lines to log for a step that needs none; StepError where it cannot be run."""

    def sweep(self, build: str) -> None:
        """Remove what a build left running when its emulator was killed."""


class EngineSteps:
    """On a Docker engine."""

    def __init__(self, images: Images, network: str) -> None:
        self.images = images
        self._network = network

    def fetch(self, step: Step) -> Command | None:
        if step.is_docker or self.images.digest(step.image):
            return None
        notes = [f"Pulling image: {step.image}"]
        words = [_docker(), "pull", "--quiet", step.image]
        return Command(words, host_env(step), step.workspace, notes=notes)

    def plan(self, step: Step) -> Command | list[str]:
        docker = _docker()
        if step.is_docker:
            return self._builder(step, docker)
        return self._container(step, docker)

    def sweep(self, build: str) -> None:
        docker = shutil.which("docker")
        if docker is None:
            return
        listing = [docker, "ps", "-aq", "--filter", f"label={LABEL}={build}"]
        found = subprocess.run(listing, capture_output=True, text=True, timeout=SWEEP_SECONDS, check=False)
        if names := found.stdout.split():
            subprocess.run(
                [docker, "rm", "-f", *names], capture_output=True, timeout=SWEEP_SECONDS, check=False
            )

    def _builder(self, step: Step, docker: str) -> Command | list[str]:
        """The docker builder is the host's own client on the host's engine, inside the build's workspace."""
        args = [step.on_host(word) for word in step.args]
        if args[:1] == ["push"]:
            return ["Kept on the local engine, which is the registry here: " + " ".join(args[1:])]
        if args[:1] == ["build"]:
            args.insert(1, "--force-rm")  # or a failed step's container stays on the user's engine
        words = [docker, *_host_network(_host_volumes(args, step))]
        if script := step.script(step.spec.get("script", "")):
            words = by_interpreter(script)
        elif entrypoint := step.spec.get("entrypoint"):
            words = [docker if entrypoint == "docker" else entrypoint, *args]
        env = {**host_env(step), "BUILDER_OUTPUT": str(step.output.parent)}
        return Command(words, env, step.host_folder())

    def _container(self, step: Step, docker: str) -> Command:
        """Any other builder is a container with the workspace and the volumes mounted."""
        name = f"headway-build-{step.build}-{step.index}"
        script = step.script(step.spec.get("script", ""))
        entrypoint = f"/builder/{script.name}" if script else step.spec.get("entrypoint")
        words = [docker, "run", "--rm", "--name", name, "--label", f"{LABEL}={step.build}"]
        words += [word for path, folder in step.mounts.items() for word in ("-v", f"{folder}:{path}")]
        if script:
            words += ["-v", f"{script}:/builder/{script.name}:ro"]
        words += ["-w", step.inside]
        pairs = (f"HOME={HOME}", f"BUILDER_OUTPUT={OUTPUTS}", *step.env)
        words += [word for pair in pairs for word in ("-e", pair)]
        words += [word for secret in step.secrets for word in ("-e", secret)]
        words += ["--network", self._network] if self._network else []
        words += ["--entrypoint", entrypoint] if entrypoint else []
        words += [step.image, *step.args]
        notes = [f"Already have image: {step.image}"]
        return Command(words, host_env(step), step.workspace, stop=[docker, "rm", "-f", name], notes=notes)


def host_env(step: Step) -> dict[str, str]:
    """For a command on this machine: what it inherits, and the step's own variables."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    given = dict(pair.partition("=")[::2] for pair in step.env)
    # The classic builder prints one line after another and needs no plugin; BuildKit may be absent.
    fixed = {"HOME": str(step.folder / "home"), "DOCKER_BUILDKIT": "0"}
    return {**inherited, **given, **step.secrets, **fixed}


def by_interpreter(script: Path) -> list[str]:
    """What its first line says: the file itself is "busy" while another step's fork holds it open."""
    first = script.read_text().splitlines()[0].removeprefix("#!").strip()
    program, _, argument = first.partition(" ")
    return [program, *filter(None, [argument.strip()]), str(script)]


def _docker() -> str:
    docker = shutil.which("docker")
    if docker is None:
        raise StepError("this machine has no docker command: install Docker's command-line client")
    return docker


def _host_volumes(args: Sequence[str], step: Step) -> list[str]:
    """A `docker run -v NAME:/path` names a volume of the build, or a folder of the workspace."""
    folders = {volume["name"]: str(step.folder / "volumes" / volume["name"]) for volume in step.volumes}
    mapped = list(args)
    for index, word in enumerate(args):
        flag, sign, value = word.partition("=") if word.startswith("--volume=") else ("", "", word)
        follows = index > 0 and args[index - 1] in ("-v", "--volume")
        if sign or follows:
            source, colon, rest = value.partition(":")
            mapped[index] = f"{flag}{sign}{folders.get(source, step.on_host(source))}{colon}{rest}"
    return mapped


def _host_network(args: Sequence[str]) -> list[str]:
    """Google's build machines have a network called cloudbuild, which `gcloud builds submit --tag` names."""
    joined = ["--network=default" if word == "--network=cloudbuild" else word for word in args]
    for index, word in enumerate(joined[:-1]):
        if word == "--network" and joined[index + 1] == "cloudbuild":
            joined[index + 1] = "default"
    return joined
