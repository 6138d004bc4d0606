"""The log of one build: lines to Cloud Logging's table and, about each second, the whole to log-ID.txt."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from headway_emulator.engine.clock import Clock, nano_timestamp
from headway_emulator.engine.objects import ObjectError, Objects
from headway_emulator.engine.store import LogEntry, Store

KIND = "build"
REFRESH_SECONDS = 1.0
WITHOUT_ENTRIES = ("GCS_ONLY", "NONE")
"""BuildOptions.LoggingMode: these keep nothing in Cloud Logging."""


class BuildLog:
    """Written by the threads of a build and its steps; another keeps the object fresh until `close`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        objects: Objects,
        build: str,
        folder: str,
        options: Mapping[str, Any],
    ) -> None:
        """`folder` is gs://BUCKET[/PREFIX], or empty where the build keeps no log object.

        `options` are the BuildOptions: whether entries are kept, and whether the object grows or comes whole.
        """
        self._store = store
        self._clock = clock
        self._objects = objects
        self._build = build
        bucket, _, prefix = folder.removeprefix("gs://").strip("/").partition("/")
        self._bucket = bucket
        self._object = f"{prefix}/log-{build}.txt" if prefix else f"log-{build}.txt"
        self._keeps_entries = options.get("logging") not in WITHOUT_ENTRIES
        self._streams = options.get("logStreamingOption") != "STREAM_OFF"
        self._text: list[str] = []
        self._written = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.failure = ""
        """Why the log object could not be written, for statusDetail."""
        self._refresher = threading.Thread(target=self._refresh, name=f"build-log-{build}", daemon=True)
        self._refresher.start()

    def write(self, *lines: str, task: str = "") -> None:
        """Whole lines, without their ends."""
        now = nano_timestamp(self._clock.now_ns())
        with self._lock:
            self._text += lines
        if not self._keeps_entries:
            return
        self._store.add_logs(
            LogEntry(KIND, self._build, task, now, "INFO", {"message": line}) for line in lines
        )

    def close(self) -> None:
        """The object is complete after this."""
        self._closing.set()
        self._refresher.join(60)

    def _refresh(self) -> None:
        while not self._closing.wait(REFRESH_SECONDS):
            if self._streams:
                self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            count, text = len(self._text), "\n".join([*self._text, ""])
        if not self._bucket or count == self._written or self.failure:
            return
        try:
            self._objects.write_text(self._bucket, self._object, text)
        except ObjectError as error:
            self.failure = str(error)
            return
        self._written = count
