"""The end of a sweep's tuning job, asked for by one of its own trials.

Plain REST: the image has no client of Vertex AI.
"""

from __future__ import annotations

from headway.cloud.session import Session
from headway.spec.layout import LABEL_RUN
from headway.spec.plan import Plan

_ENDED = frozenset(
    f"JOB_STATE_{state}"
    for state in ("SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
)


def cancel_sweep(session: Session, plan: Plan) -> None:
    """Cancel what still runs of a trial's sweep; it is found by its label. Raises RemoteError."""
    sweep_id = plan.sweep.id if plan.sweep else plan.run_id
    base = f"{session.endpoint('aiplatform')}/v1"
    jobs = f"{base}/projects/{session.project}/locations/{session.region}/hyperparameterTuningJobs"
    what = f"cannot cancel the tuning job of {sweep_id}"
    reply = session.call("GET", jobs, what, params={"filter": f'labels.{LABEL_RUN}="{sweep_id}"'})
    for job in reply.get("hyperparameterTuningJobs", []):
        if job["state"] not in _ENDED:
            session.call("POST", f"{base}/{job['name']}:cancel", what, json={})
