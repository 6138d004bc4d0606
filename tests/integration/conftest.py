"""The emulators of the contract suite, for Headway's own code to run against."""

from __future__ import annotations

from tests.contract.conftest import base_image, job_network, storage_server, twin

__all__ = ["base_image", "job_network", "storage_server", "twin"]
