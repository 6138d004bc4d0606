"""Objects, asked for by plain requests where Google's client is too slow or does not tell."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from headway.cloud.session import Session
from headway.cloud.storage import ObjectStore, Version
from headway.errors import NotFound, RemoteError


class Bucket(BaseHTTPRequestHandler):
    """Holds one object, written 90 s before the server's own time."""

    def do_GET(self) -> None:
        if "damaged" in self.path:
            self.send_response_only(200)
            self.send_header("x-goog-hash", "md5=AAAAAAAAAAAAAAAAAAAAAA==,crc32c=AAAAAA==")
            self.send_header("content-length", "5")
            self.end_headers()
            self.wfile.write(b"hello")
            return
        there = self.path.startswith("/storage/v1/b/acme/o/runs%2Fplan.json?")
        self.send_response_only(200 if there else 404)
        self.send_header("Date", "Sun, 22 Nov 2026 10:01:30 GMT")
        self.end_headers()
        if there:
            self.wfile.write(
                b'{"generation": "7", "updated": "2026-11-22T10:00:00.000Z",'
                b' "metadata": {"headway-attempt": "2"}}'
            )

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    server = HTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoints = {"storage": f"http://127.0.0.1:{server.server_port}"}
    yield ObjectStore(Session("acme", endpoints=endpoints, anonymous=True), "acme")
    server.shutdown()
    server.server_close()


def test_the_age_of_an_object_is_told_by_the_servers_clock_not_by_ours(store: ObjectStore) -> None:
    assert store.version("runs/plan.json") == Version(7, 90.0, {"headway-attempt": "2"})


def test_the_age_of_an_object_that_is_not_there_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match="there is no such object"):
        store.version("runs/other.json")


def test_an_object_that_arrives_damaged_is_told_and_leaves_no_file(
    store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(RemoteError, match=r"gs://acme/damaged: it arrived damaged"):
        store.download("damaged", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_shrinks_while_it_is_sent_is_told_as_that(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training writes a checkpoint anew: what is sent then is neither the old one nor the new one."""
    file, fstat = tmp_path / "last.ckpt", os.fstat
    file.write_bytes(b"weights")

    def cut(descriptor: int) -> os.stat_result:
        told = fstat(descriptor)
        if told.st_size == len(b"weights"):
            file.write_bytes(b"")
        return told

    monkeypatch.setattr(os, "fstat", cut)
    with pytest.raises(RemoteError, match=r"last\.ckpt changed while it was being sent"):
        store.upload("last.ckpt", file)
