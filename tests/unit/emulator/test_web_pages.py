"""A web page in somebody's browser does not get at an emulator on the same machine."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers

from headway_emulator.transparent.web_pages import NoWebPages

DOOR = NoWebPages(Starlette(), "twin.example.com:8585")


def refusal(**headers: str) -> str | None:
    return DOOR.refusal(Headers({"host": "127.0.0.1:8585"} | headers))


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", "null", ""])
def test_a_page_of_another_site_is_refused(origin: str) -> None:
    assert "is the origin of one" in str(refusal(origin=origin))


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:8888", "http://[::1]:1", "http://twin.example.com"]
)
def test_a_page_that_this_machine_serves_is_not(origin: str) -> None:
    assert refusal(origin=origin) is None


def test_a_name_that_a_site_lets_lead_here_is_refused_with_what_to_do() -> None:
    assert "--public-url http://rebound.example:PORT" in str(refusal(host="rebound.example:8585"))
    assert refusal(host="rebound.example:8585", origin="http://rebound.example:8585") is not None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "172.18.0.1:8585",
        "[::1]:8585",
        "localhost",
        "emulator:8585",
        "host.docker.internal:8585",
        "metadata.google.internal",
        "gcp.ci.svc.cluster.local:80",
        "us-central1-aiplatform.googleapis.com",
        "TWIN.example.com:8585",
    ],
)
def test_addresses_private_names_and_its_own_pass(host: str) -> None:
    assert refusal(host=host) is None
