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
    """Cancel what still runs of a trial's sweep, which is found by its label in the session's region.

    Where the platform does not say the region, each of the plan's is looked through. Raises RemoteError.
    """
    sweep_id = plan.sweep.id if plan.sweep else plan.run_id
    what = f"cannot cancel the tuning job of {sweep_id}"
    for region in [session.region] if session.region else plan.regions:
        base = f"{session.endpoint('aiplatform', region)}/v1"
        jobs = f"{base}/projects/{session.project}/locations/{region}/hyperparameterTuningJobs"
        reply = session.call("GET", jobs, what, params={"filter": f'labels.{LABEL_RUN}="{sweep_id}"'})
        for job in reply.get("hyperparameterTuningJobs", []):
            if job["state"] not in _ENDED:
                session.call("POST", f"{base}/{job['name']}:cancel", what, json={})
