"""The files that a config names: is the entrypoint there, and the lockfile?"""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path, PurePosixPath

from headway.config.load import Loaded
from headway.errors import ConfigError


def check_files(loaded: Loaded) -> None:
    """Raises ConfigError, pointing at the key, where a file that the config names is not there."""
    if ":" in loaded.spec.entrypoint:
        _check_function(loaded, "entrypoint", loaded.spec.entrypoint)
    else:
        _check_script(loaded, loaded.spec.entrypoint)
    if loaded.spec.promote is not None:
        _check_function(loaded, "promote.evaluate", loaded.spec.promote.evaluate)
    _check_requirements(loaded)
    wheelhouse = loaded.spec.environment.wheelhouse
    if wheelhouse is not None and not any((loaded.root / wheelhouse).glob("*.whl")):
        raise loaded.error(
            "environment.wheelhouse",
            f"there are no wheels in {wheelhouse}",
            hint="it holds the wheels of the lockfile and of Headway's runtime-requirements.txt: "
            "docs/images.md has the pip download that fills it",
        )


def _check_script(loaded: Loaded, script: str) -> None:
    path = PurePosixPath(script)
    if path.is_absolute() or ".." in path.parts:
        raise loaded.error(
            "entrypoint", f"{script} is outside of the project", hint="give a path relative to config.yaml"
        )
    if (loaded.root / path).is_file():
        return
    here = [p.relative_to(loaded.root).as_posix() for p in _scripts(loaded.root, (loaded.root / path).parent)]
    message = f"there is no entrypoint {script}"
    raise _missing(loaded, "entrypoint", message, script, {name: name for name in here})


def _scripts(root: Path, folder: Path) -> list[Path]:
    folders = {root, folder if folder.is_dir() else root}
    return sorted(path for each in folders for path in each.glob("[!_]*.py"))


def _missing(loaded: Loaded, key: str, message: str, wanted: str, known: dict[str, str]) -> ConfigError:
    """`known`: what `wanted` is compared with, and how that is written."""
    near = difflib.get_close_matches(wanted, known, n=2, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(known[name] for name in near)}?"
    else:
        there = f"there are {', '.join([*known.values()][:5])}; " if known else ""
        kinds = "a script (train.py) or module:function" if key == "entrypoint" else "module:function"
        hint = f"{there}write {kinds}, relative to config.yaml"
    return loaded.error(key, message, hint=hint)


def _check_function(loaded: Loaded, key: str, entry: str) -> None:
    """`key` is the config's key whose value `entry` is."""
    module, _, function = entry.partition(":")
    if module.endswith(".py"):
        right = f"{module.removesuffix('.py').replace('/', '.')}:{function}"
        raise loaded.error(key, f"{module} is a file, not a module", hint=f"did you mean {right}?")
    if not all(part.isidentifier() for part in [*module.split("."), *function.split(".")]):
        raise loaded.error(
            key,
            f"{entry!r} is no module:function",
            hint="write for example  training.main:run",
        )
    base = loaded.root.joinpath(*module.split("."))
    source = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
    if source is None:
        if not _is_required(loaded, module.partition(".")[0]):
            known = {path.stem: _dotted(loaded.root, path) for path in _scripts(loaded.root, base.parent)}
            raise _missing(loaded, key, f"there is no module {module} beside config.yaml", base.name, known)
        return
    defined = _names_in(source)
    if defined is not None and function.partition(".")[0] not in defined:
        near = difflib.get_close_matches(function, defined, n=1, cutoff=0.5)
        hint = (
            f"did you mean {module}:{near[0]}?"
            if near
            else f"it defines {', '.join(sorted(defined)) or 'nothing'}"
        )
        raise loaded.error(key, f"{source.name} defines no {function}", hint=hint)


def _dotted(root: Path, source: Path) -> str:
    return ".".join(source.relative_to(root).with_suffix("").parts)


def _is_required(loaded: Loaded, package: str) -> bool:
    """Whether a package that is not in the project could come from its lockfile."""
    if (loaded.root / package).is_dir():
        return False
    lockfile = loaded.root / loaded.spec.environment.requirements
    text = lockfile.read_text(encoding="utf-8", errors="replace") if lockfile.is_file() else ""
    named = {re.split(r"[^A-Za-z0-9._-]", line.strip(), maxsplit=1)[0] for line in text.splitlines()}
    plain = {re.sub(r"[-_.]+", "-", name).lower() for name in named}
    wanted = package.replace("_", "-").lower()
    return any(name == wanted or wanted in name.split("-") for name in plain)


def _names_in(source: Path) -> set[str] | None:
    """Names that a module defines at its top, or None where only running it would tell."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):  # ValueError: there is a null byte in it
        return None
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif not isinstance(node, ast.Expr):
            return None
    return None if "*" in names else names


def _check_requirements(loaded: Loaded) -> None:
    name = loaded.spec.environment.requirements
    if (loaded.root / name).is_file():
        return
    others = sorted(p.name for p in loaded.root.glob("*requirements*.txt"))
    hint = f"make it in the environment that you train in: pip freeze > {loaded.root / name}"
    if others:
        hint = f"did you mean {others[0]}? else {hint}"
    raise loaded.error(
        "environment.requirements",
        f"there is no lockfile {name}, from which the image is built",
        hint=hint,
    )
