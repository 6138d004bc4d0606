"""From inside a container: the variables for containers, the bundle mounted, and the network's gateway."""

from __future__ import annotations

import subprocess
import sysconfig
import textwrap

import pytest
import requests

from tests.contract.servers import PARENT, PROJECT, Emulator

pytestmark = pytest.mark.docker

PROGRAM = f"""
import ssl, urllib.request
import google.auth
from google.cloud import resourcemanager_v3
from google.cloud.aiplatform_v1 import JobServiceClient
print(google.auth.default()[1])
print(resourcemanager_v3.ProjectsClient().get_project(name="projects/{PROJECT}").project_id)
options = {{"api_endpoint": "us-central1-aiplatform.googleapis.com"}}
for transport in ("grpc", "rest"):
    client = JobServiceClient(transport=transport, client_options=options)
    print(transport, len(list(client.list_custom_jobs(parent="{PARENT}"))) >= 0)
print(urllib.request.urlopen("https://storage.googleapis.com/storage/v1/b?project={PROJECT}").status)
"""


def test_a_containers_clients_reach_google_here_by_its_own_names(
    docker_emulator: Emulator, job_network: tuple[str, str], base_image: str
) -> None:
    """Default credentials, gRPC, REST and plain urllib, with nothing but variables and one mounted file."""
    answer = requests.get(f"{docker_emulator.url}/emulator/env", params={"way": "container"}, timeout=10)
    given = answer.json()
    words = ["docker", "run", "--rm", "--network", job_network[0]]
    words += [word for name, value in given["set"].items() for word in ("--env", f"{name}={value}")]
    words += [word for at, to in given["mounts"].items() for word in ("--volume", f"{at}:{to}:ro")]
    # this Python's packages serve the image's, which has none of Google's
    words += ["--volume", f"{sysconfig.get_path('purelib')}:/packages:ro", "--env", "PYTHONPATH=/packages"]
    words += [base_image, "python3", "-c", textwrap.dedent(PROGRAM)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [PROJECT, PROJECT, "grpc True", "rest True", "200"]
