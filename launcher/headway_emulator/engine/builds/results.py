"""What a build leaves behind: images under their digests, files in Cloud Storage with a manifest."""

from __future__ import annotations

import base64
import glob
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from headway_emulator.engine.builds.site import Ended, Site, span
from headway_emulator.engine.builds.steps import WORKSPACE
from headway_emulator.engine.objects import ObjectError

OUTPUT_BYTES = 50 * 1024
"""Results.build_step_outputs: only the first 50 KB are stored."""
MD5 = 2
"""Hash.HashType.MD5; the manifest has enums as numbers."""

Say = Callable[..., None]


def images(site: Site, names: Sequence[str], say: Say) -> list[dict[str, Any]]:
    """Every image that was promised must exist; what Google pushes is kept on the engine here."""
    began = site.now()
    found = {name: site.runner.images.digest(name) for name in names}
    if missing := [name for name, digest in found.items() if not digest]:
        quoted = ", ".join(f'"{name}"' for name in missing)
        detail = f"failed to find one or more images after execution of build steps: [{quoted}]"
        raise Ended("FAILURE", detail, "PUSH_IMAGE_NOT_FOUND")
    for name, digest in found.items():
        say(f"{name}: digest: {digest} (kept on the local engine)")
    timing = span(began, site.now())
    return [{"name": name, "digest": digest, "pushTiming": timing} for name, digest in found.items()]


def files(site: Site, build: str, objects: Mapping[str, Any], workspace: Path, say: Say) -> dict[str, Any]:
    """Upload what the globs match, then the manifest; Ended where a glob matches nothing."""
    bucket, _, prefix = objects["location"].removeprefix("gs://").partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    where = f"gs://{bucket}/{prefix}"
    began = site.now()
    say(f"Artifacts will be uploaded to {where}")
    lines = []
    try:
        for pattern in objects["paths"]:
            say(f"{pattern}: Uploading path....")
            for path in _matches(pattern, workspace):
                generation = site.objects.upload(bucket, prefix + path.name, path)
                lines.append(_record(f"{where}{path.name}#{generation}", path))
        manifest = f"artifacts-{build}.json"
        say(f"Uploading manifest {manifest}")
        site.objects.write_text(bucket, prefix + manifest, "".join(f"{line}\n" for line in lines))
    except (ObjectError, OSError) as error:
        raise Ended("FAILURE", f"failed to upload artifacts: {error}", "PUSH_FAILED") from error
    return {
        "artifactManifest": f"{where}{manifest}",
        "numArtifacts": str(len(lines)),
        "artifactTiming": span(began, site.now()),
    }


def outputs(paths: Sequence[Path]) -> list[str]:
    """What each step wrote to $BUILDER_OUTPUT/output, in base64; nothing where no step did."""
    found = [path.read_bytes()[:OUTPUT_BYTES] if path.is_file() else b"" for path in paths]
    return [base64.b64encode(data).decode() for data in found] if any(found) else []


def _matches(pattern: str, workspace: Path) -> list[Path]:
    """Files only; a pattern is relative to the workspace and stays in it."""
    relative = pattern.removeprefix(f"{WORKSPACE}/")
    inside = not relative.startswith("/") and ".." not in PurePosixPath(relative).parts
    # not Path.glob, whose ** gives folders alone
    names = glob.glob(relative, root_dir=workspace, recursive=True, include_hidden=True) if inside else []  # noqa: PTH207
    paths = [path for name in sorted(names) if (path := workspace / name).is_file()]
    safe = [path for path in paths if path.resolve().is_relative_to(workspace.resolve())]
    if not safe:
        raise ObjectError(f"no file in the workspace matches {pattern}")
    return safe


def _record(location: str, path: Path) -> str:
    """One line of the manifest: an ArtifactResult."""
    with path.open("rb") as file:
        digest = base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()
    return json.dumps({"location": location, "file_hash": [{"file_hash": [{"type": MD5, "value": digest}]}]})
