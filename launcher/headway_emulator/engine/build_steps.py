"""One step of a build as a command: Docker's own CLI for the docker builder, a container for any other."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headway_emulator.engine.images import Images, NotedImages

DOCKER_BUILDER = "gcr.io/cloud-builders/docker"
WORKSPACE = "/workspace"
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
    """A step with everything filled in; `folder` has the build's workspace/, home/ and scripts."""

    build: str
    index: int
    spec: Mapping[str, Any]
    env: Sequence[str]
    folder: Path

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


@dataclass(frozen=True)
class Command:
    """What to start, where, and what to run to stop what it started elsewhere."""

    words: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    stop: Sequence[str] = ()


class StepRunner(Protocol):
    """How this emulator runs steps."""

    images: Images

    def plan(self, step: Step) -> Command | list[str]:
        """A command, or the lines to log for a step that needs none; StepError where it cannot be run."""

    def sweep(self, build: str) -> None:
        """Remove what a build left running when its emulator was killed."""


class EngineSteps:
    """On a Docker engine."""

    def __init__(self, images: Images, network: str) -> None:
        self.images = images
        self._network = network

    def plan(self, step: Step) -> Command | list[str]:
        docker = shutil.which("docker")
        if docker is None:
            raise StepError("this machine has no docker command: install Docker's command-line client")
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
        args = [_on_host(word, step) for word in step.args]
        if args[:1] == ["push"]:
            return ["Kept on the local engine, which is the registry here: " + " ".join(args[1:])]
        if args[:1] == ["build"]:
            args.insert(1, "--force-rm")  # or a failed step's container stays on the user's engine
        words = [docker, *_host_network(args)]
        if script := _script(step):
            words = [str(script)]
        elif entrypoint := step.spec.get("entrypoint"):
            words = [docker if entrypoint == "docker" else entrypoint, *args]
        return Command(words, _host_env(step), _host_folder(step))

    def _container(self, step: Step, docker: str) -> Command:
        """Any other builder is a container with the workspace mounted."""
        name = f"headway-build-{step.build}-{step.index}"
        script = _script(step)
        entrypoint = f"/builder/{script.name}" if script else step.spec.get("entrypoint")
        words = [docker, "run", "--rm", "--name", name, "--label", f"{LABEL}={step.build}"]
        words += ["-v", f"{step.workspace}:{WORKSPACE}", "-v", f"{step.folder / 'home'}:/builder/home"]
        if script:
            words += ["-v", f"{script}:/builder/{script.name}:ro"]
        words += ["-w", _inside_folder(step)]
        words += [word for pair in ("HOME=/builder/home", *step.env) for word in ("-e", pair)]
        words += ["--network", self._network] if self._network else []
        words += ["--entrypoint", entrypoint] if entrypoint else []
        words += [step.image, *step.args]
        env = _host_env(step)
        return Command(words, env, step.workspace, stop=[docker, "rm", "-f", name])


class NotedSteps:
    """Without an engine: an image build records the name, and nothing else can be run."""

    def __init__(self, images: NotedImages) -> None:
        self.images: Images = images
        self._notes = images

    def sweep(self, build: str) -> None:
        """Nothing was started."""

    def plan(self, step: Step) -> Command | list[str]:
        if not step.is_docker or step.spec.get("entrypoint") or step.spec.get("script"):
            raise StepError(f"{step.image} needs a Docker engine, and this emulator runs without one")
        args = step.args
        if args[:1] != ["build"]:
            return [f"Skipped without a Docker engine: docker {' '.join(args)}"]
        names = [args[i + 1] for i, word in enumerate(args[:-1]) if word in ("-t", "--tag")]
        names += [word.split("=", 1)[1] for word in args if word.startswith("--tag=")]
        _check_dockerfile(step, args)
        for name in names:
            self._notes.note(name)
        return [
            f"{name} stands for this Python environment: there is no Docker engine, nothing was built."
            for name in names
        ]


def _check_dockerfile(step: Step, args: Sequence[str]) -> None:
    named = [args[i + 1] for i, word in enumerate(args[:-1]) if word in ("-f", "--file")]
    dockerfile = named[-1] if named else "Dockerfile"
    if not (_host_folder(step) / _on_host(dockerfile, step)).is_file():
        raise StepError(f"unable to prepare context: there is no {dockerfile} in the source")


def _host_env(step: Step) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    given = dict(pair.partition("=")[::2] for pair in step.env)
    # The classic builder prints one line after another and needs no plugin; BuildKit may be absent.
    return {**inherited, **given, "HOME": str(step.folder / "home"), "DOCKER_BUILDKIT": "0"}


def _on_host(word: str, step: Step) -> str:
    if word == WORKSPACE or word.startswith(f"{WORKSPACE}/"):
        return f"{step.workspace}{word.removeprefix(WORKSPACE)}"
    return word


def _host_network(args: Sequence[str]) -> list[str]:
    """Google's build machines have a network called cloudbuild, which `gcloud builds submit --tag` names."""
    joined = ["--network=default" if word == "--network=cloudbuild" else word for word in args]
    for index, word in enumerate(joined[:-1]):
        if word == "--network" and joined[index + 1] == "cloudbuild":
            joined[index + 1] = "default"
    return joined


def _inside_folder(step: Step) -> str:
    return os.path.normpath(f"{WORKSPACE}/{folder}" if not (folder := _dir(step)).startswith("/") else folder)


def _host_folder(step: Step) -> Path:
    folder = Path(_on_host(_inside_folder(step), step))
    if not folder.is_dir():
        raise StepError(f'the step\'s dir "{_dir(step)}" is not in the source')
    return folder


def _dir(step: Step) -> str:
    return str(step.spec.get("dir", ""))


def _script(step: Step) -> Path | None:
    """The step's script as an executable file; without a first line of its own it is for the shell."""
    text = step.spec.get("script", "")
    if not text:
        return None
    path = step.folder / f"script-{step.index}"
    path.write_text(text if text.startswith("#!") else f"#!/bin/sh\nset -e\n{text}")
    path.chmod(0o755)
    return path
