"""Checks of the Google project: what must be there, and what one must be permitted."""

from __future__ import annotations

from itertools import islice

from headway.cloud import buckets, projects, registry, secrets
from headway.cloud.session import Session
from headway.config import Loaded
from headway.errors import InputError, NotFound, Refused
from headway.jobs.doctor.report import Found, failure, ok, unchecked, warning, worst
from headway.jobs.doctor.subject import Subject
from headway.spec.layout import BucketLayout
from headway.spec.place import Place

APIS = ("aiplatform", "artifactregistry", "cloudbuild", "logging", "storage")
BUCKET_PERMISSIONS = ("storage.objects.create", "storage.objects.get", "storage.objects.list")


def project(subject: Subject) -> Found:
    """Whether the project exists, is active, and may be seen."""
    session = subject.online.session
    try:
        found = projects.project(session)
    except (Refused, NotFound) as error:
        if _api_is_off(error):
            return unchecked(
                "Resource Manager's API is not enabled, so the project could not be read",
                _enable(session, ["cloudresourcemanager.googleapis.com"]),
            )
        return failure(
            f"there is no project {session.project}, or you may not see it",
            "mend project in the profile, or have roles/viewer granted:"
            f" gcloud projects describe {session.project}",
        )
    if found.state != "ACTIVE":
        return failure(
            f"the project {found.project_id} is {found.state}", f"gcloud projects undelete {found.project_id}"
        )
    return ok(f"{found.project_id}, number {found.number}")


def apis(subject: Subject) -> Found:
    """Whether the APIs that a submit speaks to are enabled."""
    session = subject.online.session
    wanted = [*APIS]
    if isinstance(subject.config, Loaded) and subject.spec.environment.secrets:
        wanted.append("secretmanager")
    try:
        off = projects.disabled_apis(session, [f"{name}.googleapis.com" for name in wanted])
    except (Refused, NotFound) as error:
        return unchecked(
            f"they could not be read: {error.message}",
            f"gcloud services list --enabled --project {session.project}",
        )
    if off:
        return failure(f"not enabled: {', '.join(off)}", _enable(session, off))
    return ok(f"{len(wanted)} enabled: {', '.join(wanted)}")


def bucket(subject: Subject) -> Found:
    """Whether the bucket exists, is regional, lies where the job runs, and may be written to."""
    session, place, regions = subject.online.session, subject.known_place, subject.regions
    name = place.bucket
    create = (
        f"gcloud storage buckets create gs://{name} --project {place.project} --location {regions[0]}"
        " --uniform-bucket-level-access"
    )
    try:
        found = buckets.look_up(session, name)
    except NotFound:
        return failure(f"there is no bucket {name}", create)
    if found.kind != "region":
        return failure(
            f"{name} is a {found.kind} bucket ({found.location}); Vertex AI trains from regional ones",
            f"name a regional one in the profile: {create.replace(name, f'{name}-{regions[0]}')}",
        )
    if found.location not in regions:
        return failure(
            f"{name} lies in {found.location}, and the job runs in {' or '.join(regions)}",
            f"set resources.regions: [{found.location}], or name a bucket of {regions[0]} in the profile",
        )
    if lacking := buckets.lacking(session, name, BUCKET_PERMISSIONS):
        return failure(
            f"you lack {', '.join(lacking)} in {name}",
            f"gcloud storage buckets add-iam-policy-binding gs://{name} --member=user:YOU"
            " --role=roles/storage.objectUser",
        )
    if others := [region for region in regions if region != found.location]:
        return warning(
            f"{name} lies in {found.location}; a job in {', '.join(others)} reads across regions, at a price",
            f"set resources.regions: [{found.location}]",
        )
    return ok(f"{name}, regional, in {found.location}")


def repository(subject: Subject) -> Found:
    """Whether the Artifact Registry repository of the images exists."""
    session, place = subject.online.session, subject.known_place
    try:
        kind = registry.repository_format(session, place.region, place.repository)
    except NotFound:
        create = (
            f"gcloud artifacts repositories create {place.repository} --repository-format=docker"
            f" --location={place.region} --project={place.project}"
        )
        return failure(
            f"there is no repository {place.repository} in {place.region}",
            "launch local down, then launch local up" if subject.is_local else create,
        )
    if kind != "DOCKER":
        return failure(
            f"the repository {place.repository} is of the format {kind}, not DOCKER",
            "name another one in the profile: repository",
        )
    return ok(f"{place.repository} in {place.region}")


def service_account(subject: Subject) -> Found:
    """Whether the profile's accounts exist and the caller may start something that runs as them (actAs)."""
    place, session = subject.known_place, subject.online.session
    accounts = dict.fromkeys(filter(None, (place.service_account, place.build_service_account)))
    if not accounts:
        return ok("the profile names none: jobs and builds run as Google's own default accounts")
    return worst([_account(session, email) for email in accounts])


def schedules(subject: Subject) -> Found | None:
    """Whether the account of schedules exists, may be used and may call their function; None without any.

    In the local stack nobody needs a permission.
    """
    if subject.is_local or not _is_scheduled(subject):
        return None
    place = subject.known_place
    email = place.scheduler_service_account
    if email is None:
        return failure(
            f"the profile {place.profile} has no scheduler_service_account: the account that ticks run as",
            "Terraform in infra/ makes one, and its output headway_toml has the line for headway.toml",
        )
    session = subject.online.session
    return worst([_account(session, email), _invoker(session, email)])


def _is_scheduled(subject: Subject) -> bool:
    """Whether the config has a schedule, or the place one of any job, as far as it may be asked."""
    if isinstance(subject.config, Loaded) and subject.spec.schedule is not None:
        return True
    if subject.services is None or not isinstance(subject.place, Place):
        return False
    try:
        entries = subject.services.store.list(BucketLayout(subject.place.bucket).schedules)
        return any(entry.name.endswith("/schedule.json") for entry in islice(entries, 1000))
    except (NotFound, Refused):
        return False  # the bucket's own row tells why


def _invoker(session: Session, email: str) -> Found:
    look = f"gcloud projects get-iam-policy {session.project}"
    try:
        roles = projects.roles_of(session, email)
    except (NotFound, Refused) as error:
        return unchecked(f"whether {email} may call functions could not be read: {error.message}", look)
    if roles & {projects.INVOKE, "roles/run.admin", "roles/editor", "roles/owner"}:
        return ok("it may call functions")
    own = sorted(role for role in roles if not role.startswith("roles/"))
    if own:
        return ok(f"it has roles of your own, of which one must have run.routes.invoke: {', '.join(own)}")
    return warning(
        f"{email} has no role in the project by which Cloud Scheduler may call the function",
        f"gcloud projects add-iam-policy-binding {session.project} --member=serviceAccount:{email}"
        f" --role={projects.INVOKE} (or on the function's own service)",
    )


def _account(session: Session, email: str) -> Found:
    try:
        if projects.may_act_as(session, email):
            return ok(f"{email}, and you may act as it")
    except NotFound:
        name = email.partition("@")[0]
        return failure(
            f"there is no service account {email}",
            f"gcloud iam service-accounts create {name} --project {session.project},"
            " or mend it in the profile",
        )
    return failure(
        f"you may not act as {email} (no {projects.ACT_AS})",
        f"gcloud iam service-accounts add-iam-policy-binding {email} --member=user:YOU"
        f" --role=roles/iam.serviceAccountUser --project {session.project}",
    )


def secret_values(subject: Subject) -> Found:
    """Whether the config's secrets can be read; a value is dropped at once, and never shown."""
    wanted = sorted(set(subject.spec.environment.secrets.values()))
    if not wanted:
        return ok("the config names none")
    session = subject.online.session
    account = subject.known_place.service_account or "the account that the job runs as"
    return worst([_secret(session, reference, account) for reference in wanted])


def _secret(session: Session, reference: str, account: str) -> Found:
    name = reference.split("/")[3] if reference.startswith("projects/") else reference.partition("/")[0]
    try:
        secrets.access(session, reference)
    except NotFound:
        return failure(
            f"there is no secret {reference}, or no version of it",
            f"printf %s VALUE | gcloud secrets create {name} --data-file=- --project {session.project}"
            f" (or: gcloud secrets versions add {name})",
        )
    except Refused as error:
        if "FAILED_PRECONDITION" in error.message or " 400 " in error.message:
            return failure(
                f"the secret {reference} cannot be read: {error.message}",
                f"enable its version, or add one: gcloud secrets versions add {name} --data-file=-",
            )
        return warning(
            f"you may not read the secret {reference}; the job reads it as {account}",
            f"gcloud secrets add-iam-policy-binding {name} --project {session.project}"
            f" --member=serviceAccount:{account} --role=roles/secretmanager.secretAccessor",
        )
    except InputError as error:
        return failure(error.message, error.hint or "store it as text")
    return ok(f"{reference} can be read")


def _api_is_off(error: Refused | NotFound) -> bool:
    return "has not been used in project" in error.message or "is disabled" in error.message


def _enable(session: Session, names: list[str]) -> str:
    return f"gcloud services enable {' '.join(names)} --project {session.project}"
