"""Steps without a Docker engine: images are noted by name, scripts and entrypoints run as processes here."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from headway_emulator.engine.builds.steps import Command, Step, StepError, by_interpreter, host_env
from headway_emulator.engine.images.images import Images, NotedImages


class NotedSteps:
    """An image build records the name; a step that says what to run is run by this machine itself."""

    def __init__(self, images: NotedImages) -> None:
        self.images: Images = images
        self._notes = images

    def fetch(self, step: Step) -> Command | None:  # noqa: ARG002
        return None

    def sweep(self, build: str) -> None:
        """Nothing is left: strays were ended when the emulator started."""

    def plan(self, step: Step) -> Command | list[str]:
        if step.spec.get("entrypoint", "docker") != "docker" or step.spec.get("script"):
            return self._process(step)
        if not step.is_docker:
            raise StepError(
                f"{step.image} needs a Docker engine, and this emulator runs without one. Give the step a "
                "script or an entrypoint, which runs on this machine, or use --executor docker."
            )
        return self._noted(step)

    def _process(self, step: Step) -> Command:
        """Paths of the container become those of this machine, in arguments and in the script's text."""
        folder = step.host_folder()
        script = step.script(_with_host_paths(step.spec.get("script", ""), step))
        words = [_with_host_paths(word, step) for word in (step.spec.get("entrypoint", ""), *step.args)]
        env = {**host_env(step), "BUILDER_OUTPUT": str(step.output.parent)}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
        if script is None and shutil.which(words[0], path=env["PATH"]) is None:
            raise StepError(
                f"{words[0]} is not on this machine, and there is no Docker engine for {step.image}"
            )
        note = (
            f"There is no Docker engine: this step runs as a process of this machine, without {step.image}."
        )
        return Command(by_interpreter(script) if script else words, env, folder, notes=[note])

    def _noted(self, step: Step) -> list[str]:
        args = step.args
        if args[:1] != ["build"]:
            return [f"Skipped without a Docker engine: docker {' '.join(args)}"]
        names = [args[i + 1] for i, word in enumerate(args[:-1]) if word in ("-t", "--tag")]
        names += [word.split("=", 1)[1] for word in args if word.startswith("--tag=")]
        _check_dockerfile(step, args)
        self._notes.note(names)
        return [
            f"{name} stands for this Python environment: there is no Docker engine, nothing was built."
            for name in names
        ]


def _check_dockerfile(step: Step, args: Sequence[str]) -> None:
    named = [args[i + 1] for i, word in enumerate(args[:-1]) if word in ("-f", "--file")]
    dockerfile = named[-1] if named else "Dockerfile"
    if not (step.host_folder() / step.on_host(dockerfile)).is_file():
        raise StepError(f"unable to prepare context: there is no {dockerfile} in the source")


def _with_host_paths(text: str, step: Step) -> str:
    """Whole paths only: /workspace, not /workspaces or /my/workspace."""
    mounts = step.mounts
    paths = "|".join(re.escape(path) for path in sorted(mounts, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])(?:{paths})(?![\w-])", lambda found: str(mounts[found[0]]), text)
