"""gcloud's commands for functions that are there, wired by environment variables alone."""

from __future__ import annotations

import pytest

from tests.contract.command_line import NEEDS_GCLOUD, REGION, Gcloud
from tests.contract.servers import Emulator
from tests.contract.test_functions import deployed

pytestmark = NEEDS_GCLOUD


@pytest.mark.timeout(300)
def test_a_function_is_listed_described_and_deleted(gcloud: Gcloud, emulator: Emulator) -> None:
    """By `--v2`, which is Google's way to ask for functions of the second generation."""
    made = deployed(emulator)
    short = made.name.rsplit("/", 1)[1]
    assert made.name in [one["name"] for one in gcloud.json("functions", "list", "--v2")]
    described = gcloud.json("functions", "describe", short, REGION, "--v2")
    assert (described["state"], described["url"]) == ("ACTIVE", made.url)
    gcloud("functions", "delete", short, REGION, "--gen2", "--quiet")
    assert made.name not in [one["name"] for one in gcloud.json("functions", "list", "--v2")]
