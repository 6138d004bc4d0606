"""The connections to the storage server behind the front."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from headway_emulator.services.storage.upstream import Upstream

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.slow
def test_a_server_that_is_too_busy_to_take_a_connection_for_some_seconds_is_waited_for() -> None:
    """Its queue of connections is full for six seconds: hundreds of clients at once on a machine at work."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        place = server.getsockname()
        before_it = socket.create_connection(place)  # takes the one place in the queue

        def work_off() -> None:
            time.sleep(6)
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(ANSWER)

        worker = threading.Thread(target=work_off, daemon=True)
        worker.start()

        async def asked() -> int:
            upstream = Upstream(f"http://127.0.0.1:{place[1]}", "123456789012")
            try:
                return (await upstream.ask("GET", "/storage/v1/b", {})).status
            finally:
                await upstream.close()

        try:
            assert asyncio.run(asked()) == 200
        finally:
            before_it.close()
            worker.join(10)
