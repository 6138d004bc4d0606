"""`gcloud logging` as it is, wired by environment variables alone."""

from __future__ import annotations

import secrets

from google.cloud.aiplatform_v1 import JobServiceClient

from tests.contract.command_line import NEEDS_GCLOUD, Gcloud
from tests.contract.conftest import custom_job
from tests.contract.servers import LOCATION, PARENT, PROJECT
from tests.contract.test_custom_jobs import finished

pytestmark = NEEDS_GCLOUD
WHERE = f"--location={LOCATION}"


def test_entries_are_written_read_and_deleted(gcloud: Gcloud) -> None:
    log = f"by-gcloud-{secrets.token_hex(4)}"
    gcloud("logging", "write", log, "plain words", "--severity=WARNING")
    gcloud("logging", "write", log, '{"loss": 0.5, "message": "said"}', "--payload-type=json")
    of_log = f"logName=projects/{PROJECT}/logs/{log}"
    newest = gcloud.json("logging", "read", of_log)
    assert [entry.get("textPayload", entry.get("jsonPayload")) for entry in newest] == [
        {"loss": 0.5, "message": "said"},
        "plain words",
    ]
    assert gcloud.json("logging", "read", f'{of_log} AND jsonPayload.loss>0.4 AND "SAID"') == newest[:1]
    assert gcloud.json("logging", "read", f"{of_log} severity>=WARNING", "--limit=1") == newest[1:]
    assert f"projects/{PROJECT}/logs/{log}" in gcloud("logging", "logs", "list")
    gcloud("logging", "logs", "delete", log)
    assert gcloud.json("logging", "read", of_log) == []
    assert "ml_job" in gcloud("logging", "resource-descriptors", "list")


def test_a_jobs_log_is_read(gcloud: Gcloud, jobs: JobServiceClient) -> None:
    """By the resource that Vertex AI gives its entries, and by their text."""
    program = ("import sys", "print('seen')", "print('wrong', file=sys.stderr)")
    name = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program)).name
    finished(jobs, name)
    wanted = (
        f'resource.type=ml_job resource.labels.job_id={name.rsplit("/", 1)[1]} jsonPayload.message=~"^wr"'
    )
    (entry,) = gcloud.json("logging", "read", wanted)
    assert (entry["severity"], entry["jsonPayload"]["message"]) == ("ERROR", "wrong")
