"""`python -m headway.data.dvc_push`: one push by DVC's own code, asked for on stdin and answered on stdout.

Request: {"root", "paths", "url", "endpoint"}. Answer, its last line: {} or {"error", "hint", "kind"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def push(root: Path, paths: list[str], url: str, endpoint: str | None) -> dict[str, str]:
    """Push and say what was wrong; {} where nothing was."""
    from dvc.exceptions import (
        CacheLinkError,
        DvcException,
        NoOutputOrStageError,
        NotDvcRepoError,
        OutputNotFoundError,
        UploadError,
    )
    from dvc.repo import Repo
    from dvc.stage.exceptions import StageFileDoesNotExistError

    remote = {"url": url, **({"endpointurl": endpoint} if endpoint else {})}
    config = {"core": {"remote": "headway", "analytics": False}, "remote": {"headway": remote}}
    named = ", ".join(paths)
    try:
        with Repo(Repo.find_root(str(root)), config=config) as repo:
            targets = [str(root / path) for path in paths]
            lost = _not_in_cache(repo, targets)
            if lost:
                return _answer("data", f"{lost} is not in DVC's cache", "run: dvc add (or dvc repro) again")
            repo.push(targets=targets, remote="headway")
    except NotDvcRepoError:
        return _answer("data", f"{root} is in no DVC repository", "run: dvc init")
    except (OutputNotFoundError, NoOutputOrStageError, StageFileDoesNotExistError):
        return _answer("data", f"DVC does not track {named}", f"run: dvc add {' '.join(paths)}")
    except UploadError as error:
        return _answer("remote", f"{error.amount} files of {named} could not be sent to {url}", _AGAIN)
    except (CacheLinkError, DvcException) as error:
        return _answer("remote", f"dvc push of {named} to {url} failed: {error}", _AGAIN)
    except OSError as error:
        return _answer("remote", f"{url} does not answer: {error}", _AGAIN)
    return {}


_AGAIN = "run the command again: what was sent is kept"


def _not_in_cache(repo: Any, targets: list[str]) -> str | None:
    """The first tracked path whose content DVC no longer has: it would push nothing and only log it."""
    outs = (
        out for target in targets for info in repo.stage.collect_granular(target) for out in info.stage.outs
    )
    return next((str(out) for out in outs if out.changed_cache()), None)


def _answer(kind: str, error: str, hint: str) -> dict[str, str]:
    return {"kind": kind, "error": error, "hint": hint}


def main() -> int:
    request = json.load(sys.stdin)
    answer = push(Path(request["root"]), request["paths"], request["url"], request["endpoint"])
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
