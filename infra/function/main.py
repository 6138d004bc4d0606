"""The Cloud Function of Headway's schedules: a tick, decided and submitted by the code of `launch submit`."""

from __future__ import annotations

import os
from typing import Any

import functions_framework

from headway.cloud.services import Services
from headway.jobs import ticks
from headway.spec.place import Place


class _Printed:
    """Progress as lines of the function's log."""

    def step(self, name: str, detail: str) -> None:
        print(f"{name}: {detail}", flush=True)  # noqa: T201  what a function prints is its log

    def line(self, text: str) -> None:
        pass


@functions_framework.http
def tick(request: Any) -> tuple[dict[str, Any], int]:
    """POST {"schedule": NAME, "source": "cron" or "watch"}, as Cloud Scheduler sends it."""
    services = Services(Place.model_validate_json(os.environ["HEADWAY_PLACE"]))
    due = request.headers.get("X-CloudScheduler-ScheduleTime")
    document, status = ticks.answer(services, request.get_json(silent=True) or {}, due, _Printed())
    told = [f"{each['state']}: {each['reason']}" for each in document.get("ticks", ())]
    print(document.get("error") or told, flush=True)  # noqa: T201
    return document, status
