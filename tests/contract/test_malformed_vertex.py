"""Malformed requests to Vertex AI, each with the answer that Google gives and the source that says so.

Over bare HTTP, because Google's clients cannot send most of them. The wording is compared where a source has
it; elsewhere the status, the reason and the field at fault are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.contract.servers import PARENT, PROJECT, Emulator, until

Document = dict[str, Any]
Change = Callable[[Document], Any]

GOOD: Document = {
    "displayName": "checked",
    "jobSpec": {
        "workerPoolSpecs": [
            {
                "machineSpec": {"machineType": "n1-standard-4"},
                "replicaCount": "1",
                "containerSpec": {"imageUri": "trainer", "command": ["python3", "-c", "pass"]},
            }
        ]
    },
}

# Where a rule or its wording comes from.
WRITER = "protobuf, util/internal/proto_writer.cc, whose messages Google's front passes on"
PARSER = "protobuf, util/internal/json_stream_parser.cc, likewise"
FRONT = "answers of Google's front that users report (google-wallet/rest-samples#22, magic-modules#9400)"
VERTEX = "an answer of Vertex AI that users report: "
COMPUTE = "Google's page custom training, configure-compute"
DWS = "Google's page custom training, schedule-jobs-dws"
SPOT = "Google's page custom training, use-spot-vms"
RESERVE = "Google's page custom training, use-reservations"
CODES = "google/rpc/code.proto and AIP-193"


def described(place: str) -> str:
    return f"the description of {place} in the discovery document aiplatform.v1"


@dataclass(frozen=True)
class Job:
    """A CustomJob that differs from a good one by `change`; `at` is the field at fault."""

    what: str
    change: Change
    at: str
    says: str
    source: str
    reason: str = "INVALID_ARGUMENT"
    status: int = 400


@dataclass(frozen=True)
class Asked:
    """Any other request; `path` is below the service's version."""

    what: str
    verb: str
    path: str
    says: str
    source: str
    status: int = 400
    reason: str = "INVALID_ARGUMENT"
    data: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def put(path: str, value: Any) -> Change:
    """Set what the path names, such as jobSpec.scheduling.timeout; `pool` is the first worker pool."""

    def change(body: Document) -> None:
        here: Any = body
        *way, last = path.replace("pool", "jobSpec.workerPoolSpecs.0").split(".")
        for part in way:
            here = here[int(part)] if part.isdecimal() else here.setdefault(part, {})
        here[last] = value

    return change


def drop(path: str) -> Change:
    def change(body: Document) -> None:
        here: Any = body
        *way, last = path.replace("pool", "jobSpec.workerPoolSpecs.0").split(".")
        for part in way:
            here = here[int(part)] if part.isdecimal() else here[part]
        del here[last]

    return change


def machine(kind: str, accelerator: Any = None, count: Any = None, **more: Any) -> Change:
    spec = {"machineType": kind, "acceleratorType": accelerator, "acceleratorCount": count, **more}
    return put("pool.machineSpec", {name: value for name, value in spec.items() if value is not None})


def pools(*more: Document) -> Change:
    return lambda body: body["jobSpec"]["workerPoolSpecs"].extend(more)


def both(*changes: Change) -> Change:
    return lambda body: [change(body) for change in changes]


def reserved(kind: str, **more: Any) -> Change:
    affinity = {"reservationAffinityType": kind, **more}
    return machine("a2-highgpu-1g", "NVIDIA_TESLA_A100", 1, reservationAffinity=affinity)


POOL: Document = GOOD["jobSpec"]["workerPoolSpecs"][0]
POOL0 = "custom_job.job_spec.worker_pool_specs[0]"
RULE0 = "job_spec.worker_pool_specs[0]"
REQUIRED = "Required field is not set."
A100 = ("a2-highgpu-1g", "NVIDIA_TESLA_A100", 1)
NAMED = {"key": "compute.googleapis.com/reservation-name"}
FLEX = put("jobSpec.scheduling.strategy", "FLEX_START")
TPU: Document = {**POOL, "machineSpec": {"machineType": "ct6e-standard-4t"}}

UNKNOWN_FIELDS = [
    Job(
        "an unknown field of the job",
        put("gpus", 1),
        "custom_job",
        "Invalid JSON payload received. Unknown name \"gpus\" at 'custom_job': Cannot find field.",
        FRONT,
    ),
    Job(
        "an unknown field of the spec",
        put("jobSpec.gpus", 1),
        "custom_job.job_spec",
        "Invalid JSON payload received. Unknown name \"gpus\" at 'custom_job.job_spec': Cannot find field.",
        FRONT,
    ),
    Job(
        "an unknown field of a list's message",
        put("pool.containerSpec.image", "x"),
        f"{POOL0}.container_spec",
        f"Unknown name \"image\" at '{POOL0}.container_spec': Cannot find field.",
        FRONT,
    ),
    Job(
        "an unknown field in snake case",
        put("job_specs", {}),
        "custom_job",
        "Unknown name \"job_specs\" at 'custom_job': Cannot find field.",
        FRONT,
    ),
]
TYPES = [
    Job(
        "a number for a text",
        put("displayName", 7),
        "custom_job.display_name",
        "Invalid value at 'custom_job.display_name' (TYPE_STRING), 7",
        FRONT,
    ),
    Job(
        "a text for a message",
        put("jobSpec", "x"),
        "custom_job.job_spec",
        '(type.googleapis.com/google.cloud.aiplatform.v1.CustomJobSpec), "x"',
        FRONT,
    ),
    Job(
        "an object for a text",
        put("displayName", {"text": "x"}),
        "custom_job",
        "Invalid value at 'custom_job' (display_name), Starting an object on a scalar field",
        WRITER,
    ),
    Job(
        "a list for one text",
        put("displayName", ["x"]),
        "custom_job",
        "Unknown name \"displayName\" at 'custom_job': Proto field is not repeating, cannot start list.",
        WRITER,
    ),
    Job(
        "a list for one message",
        put("jobSpec", []),
        "custom_job",
        "Unknown name \"jobSpec\" at 'custom_job': Proto field is not repeating, cannot start list.",
        WRITER,
    ),
    Job(
        "a list for a map",
        put("labels", []),
        "custom_job",
        "Invalid value at 'custom_job' (Map), Cannot bind a list to map for field 'labels'.",
        WRITER,
    ),
    Job(
        "a number as a label's value",
        put("labels", {"team": 1}),
        'custom_job.labels["team"]',
        "(TYPE_STRING), 1",
        WRITER,
    ),
    Job(
        "words for an int64",
        put("pool.replicaCount", "many"),
        f"{POOL0}.replica_count",
        f"Invalid value at '{POOL0}.replica_count' (TYPE_INT64), \"many\"",
        FRONT,
    ),
    Job(
        "an int64 that is too large",
        put("pool.replicaCount", "9223372036854775808"),
        f"{POOL0}.replica_count",
        '(TYPE_INT64), "9223372036854775808"',
        WRITER,
    ),
    Job(
        "half a replica",
        put("pool.replicaCount", 1.5),
        f"{POOL0}.replica_count",
        "(TYPE_INT64), 1.5",
        WRITER,
    ),
    Job(
        "an int32 that is too large",
        put("pool.diskSpec.bootDiskSizeGb", 1 << 31),
        f"{POOL0}.disk_spec.boot_disk_size_gb",
        "(TYPE_INT32), 2147483648",
        WRITER,
    ),
    Job(
        "a text for a boolean",
        put("jobSpec.enableWebAccess", "yes"),
        "custom_job.job_spec.enable_web_access",
        '(TYPE_BOOL), "yes"',
        WRITER,
    ),
    Job(
        "a duration in hours",
        put("jobSpec.scheduling.timeout", "2h"),
        "custom_job.job_spec.scheduling.timeout",
        "(type.googleapis.com/google.protobuf.Duration), Field 'timeout', "
        "Illegal duration format; duration must end with 's'",
        FRONT,
    ),
    Job(
        "a duration of ten thousand years and more",
        put("jobSpec.scheduling.timeout", "999999999999s"),
        "custom_job.job_spec.scheduling.timeout",
        "(type.googleapis.com/google.protobuf.Duration)",
        "google/protobuf/duration.proto: +-315,576,000,000 s",
    ),
    Job(
        "a duration that is no number",
        put("jobSpec.scheduling.maxWaitDuration", "minutes"),
        "custom_job.job_spec.scheduling.max_wait_duration",
        "Invalid duration format, failed to parse seconds",
        "protobuf, util/internal/protostream_objectwriter.cc",
    ),
    Job(
        "an enum name that does not exist",
        machine("n1-standard-4", "NVIDIA_FOO", 1),
        f"{POOL0}.machine_spec.accelerator_type",
        '(type.googleapis.com/google.cloud.aiplatform.v1.AcceleratorType), "NVIDIA_FOO"',
        FRONT,
    ),
    Job(
        "an enum number that does not exist",
        machine("n1-standard-4", 999, 1),
        f"{POOL0}.machine_spec.accelerator_type",
        "(type.googleapis.com/google.cloud.aiplatform.v1.AcceleratorType), 999",
        WRITER,
    ),
    Job(
        "a strategy's number that is reserved",
        put("jobSpec.scheduling.strategy", 5),
        "custom_job.job_spec.scheduling.strategy",
        "(type.googleapis.com/google.cloud.aiplatform.v1.Scheduling.Strategy), 5",
        "the enum Scheduling.Strategy of google-cloud-aiplatform 2.7.0, which has no 5",
    ),
    Job(
        "two tasks in one pool",
        put("pool.pythonPackageSpec", {}),
        RULE0,
        "oneof field 'task' is already set. Cannot set 'pythonPackageSpec'",
        WRITER,
    ),
]
REQUIRED_FIELDS = [
    Job(
        "no display name", drop("displayName"), "custom_job.display_name", REQUIRED, described("displayName")
    ),
    Job(
        "an empty display name",
        put("displayName", ""),
        "custom_job.display_name",
        REQUIRED,
        described("displayName"),
    ),
    Job("no spec", drop("jobSpec"), "job_spec", REQUIRED, described("CustomJob.jobSpec")),
    Job(
        "no pools",
        put("jobSpec.workerPoolSpecs", []),
        "job_spec.worker_pool_specs",
        REQUIRED,
        described("CustomJobSpec.workerPoolSpecs"),
    ),
    Job(
        "no machine",
        drop("pool.machineSpec"),
        f"{RULE0}.machine_spec.machine_type",
        REQUIRED,
        described("MachineSpec.machineType"),
    ),
    Job(
        "no image",
        drop("pool.containerSpec.imageUri"),
        f"{RULE0}.container_spec.image_uri",
        REQUIRED,
        described("ContainerSpec.imageUri"),
    ),
    Job(
        "no task",
        drop("pool.containerSpec"),
        RULE0,
        "One of container_spec and python_package_spec",
        described("WorkerPoolSpec"),
    ),
    Job(
        "a Python package without a module",
        both(
            drop("pool.containerSpec"),
            put("pool.pythonPackageSpec", {"executorImageUri": "x", "packageUris": ["gs://b/p.tar.gz"]}),
        ),
        f"{RULE0}.python_package_spec.python_module",
        REQUIRED,
        described("PythonPackageSpec.pythonModule"),
    ),
    Job(
        "an output directory without its address",
        put("jobSpec.baseOutputDirectory", {}),
        "job_spec.base_output_directory.output_uri_prefix",
        REQUIRED,
        described("GcsDestination.outputUriPrefix"),
    ),
    Job(
        "an NFS mount without a server",
        put("pool.nfsMounts", [{"path": "/a", "mountPoint": "a"}]),
        f"{RULE0}.nfs_mounts[0].server",
        REQUIRED,
        described("NfsMount.server"),
    ),
]
LABEL_RULE = "There can be no more than 64 labels attached to a single resource."
LABELS = VERTEX + 'a persistent resource refused for its labels ("List of found errors"), July 2024'
NAMES_AND_LABELS = [
    Job(
        "a long display name",
        put("displayName", "x" * 129),
        "custom_job.display_name",
        "128",
        described("CustomJob.displayName"),
    ),
    Job("an upper-case label", put("labels", {"Team": "a"}), "custom_job.labels", LABEL_RULE, LABELS),
    Job("a dot in a label's value", put("labels", {"team": "a.b"}), "custom_job.labels", LABEL_RULE, LABELS),
    Job("a label that begins with _", put("labels", {"_team": "a"}), "custom_job.labels", LABEL_RULE, LABELS),
    Job("a long label key", put("labels", {"k" * 64: "a"}), "custom_job.labels", LABEL_RULE, LABELS),
    Job("a long label value", put("labels", {"k": "v" * 64}), "custom_job.labels", LABEL_RULE, LABELS),
    Job(
        "65 labels", put("labels", {f"k{n}": "" for n in range(65)}), "custom_job.labels", LABEL_RULE, LABELS
    ),
    Job(
        "a service account that is no address",
        put("jobSpec.serviceAccount", "trainer"),
        "job_spec.service_account",
        '"trainer"',
        described("CustomJobSpec.serviceAccount"),
    ),
    Job(
        "a network by the project's id",
        put("jobSpec.network", f"projects/{PROJECT}/global/networks/main"),
        "job_spec.network",
        "PROJECT_NUMBER",
        described("CustomJobSpec.network"),
    ),
    Job(
        "a tensorboard by its number alone",
        put("jobSpec.tensorboard", "123"),
        "job_spec.tensorboard",
        "tensorboards/",
        described("CustomJobSpec.tensorboard"),
    ),
    Job(
        "a local output directory",
        put("jobSpec.baseOutputDirectory.outputUriPrefix", "/tmp/out"),
        "job_spec.base_output_directory.output_uri_prefix",
        "gs://",
        described("GcsDestination.outputUriPrefix"),
    ),
    Job(
        "a key that is no resource name",
        put("encryptionSpec.kmsKeyName", "mykey"),
        "custom_job.encryption_spec.kms_key_name",
        "cryptoKeys/",
        described("EncryptionSpec.kmsKeyName"),
    ),
    Job(
        "a persistent resource in upper case",
        put("jobSpec.persistentResourceId", "My_cluster"),
        "persistent_resource_id",
        "persistent_resource_id can only contain numbers, lower case letters and hyphens.",
        LABELS,
    ),
]
ENVIRONMENT = [
    Job(
        "101 variables",
        put("pool.containerSpec.env", [{"name": f"V{n}", "value": "x"} for n in range(101)]),
        f"{RULE0}.container_spec.env",
        "100",
        described("ContainerSpec.env"),
    ),
    Job(
        "a variable's name with a space",
        put("pool.containerSpec.env", [{"name": "a b", "value": "x"}]),
        f"{RULE0}.container_spec.env[0].name",
        "C identifier",
        described("EnvVar.name"),
    ),
    Job(
        "a variable without a name",
        put("pool.containerSpec.env", [{"value": "x"}]),
        f"{RULE0}.container_spec.env[0].name",
        REQUIRED,
        described("EnvVar.name"),
    ),
    Job(
        "a variable without a value",
        put("pool.containerSpec.env", [{"name": "A", "value": ""}]),
        f"{RULE0}.container_spec.env[0].value",
        REQUIRED,
        described("EnvVar.value") + "; users report it for the same message in a reasoning engine",
    ),
    Job(
        "a variable twice",
        put("pool.containerSpec.env", [{"name": "A", "value": "x"}, {"name": "A", "value": "y"}]),
        f"{RULE0}.container_spec.env",
        "EnvVar names must be unique.",
        VERTEX + "a reasoning engine refused for its env",
    ),
]
POOLS = [
    Job(
        "two chiefs",
        put("pool.replicaCount", "2"),
        f"{RULE0}.replica_count",
        "must be 1",
        described("workerPoolSpecs"),
    ),
    Job(
        "a skipped chief",
        put("jobSpec.workerPoolSpecs", [{}, POOL]),
        f"{RULE0}.replica_count",
        "must be 1",
        COMPUTE,
    ),
    Job(
        "no workers in a pool",
        pools({**POOL, "replicaCount": "0"}),
        "job_spec.worker_pool_specs[1].replica_count",
        "at least 1",
        COMPUTE,
    ),
    Job("five pools", pools(*[POOL] * 4), "job_spec.worker_pool_specs", "at most 4", COMPUTE),
    Job(
        "TPUs in two pools",
        put("jobSpec.workerPoolSpecs", [TPU, TPU]),
        "job_spec.worker_pool_specs",
        "one worker pool",
        COMPUTE,
    ),
    Job(
        "a small disk",
        put("pool.diskSpec.bootDiskSizeGb", 50),
        f"{RULE0}.disk_spec.boot_disk_size_gb",
        "100 to 64000 GB, not 50",
        COMPUTE,
    ),
    Job(
        "a large disk",
        put("pool.diskSpec.bootDiskSizeGb", 64_001),
        f"{RULE0}.disk_spec.boot_disk_size_gb",
        "not 64001",
        COMPUTE,
    ),
    Job(
        "a disk of no type",
        put("pool.diskSpec.bootDiskType", "floppy"),
        f"{RULE0}.disk_spec.boot_disk_type",
        "pd-ssd, pd-standard, hyperdisk-balanced",
        described("DiskSpec.bootDiskType"),
    ),
]
AT = f"{RULE0}.machine_spec"
BOTH = "Both `accelerator_type` and `accelerator_count` should be specified or none."
MACHINES = [
    Job(
        "a machine that is none", machine("n1-nonsense-4"), f"{AT}.machine_type", "is not supported", COMPUTE
    ),
    Job("a machine of serving", machine("n1-standard-2"), f"{AT}.machine_type", "is not supported", COMPUTE),
    Job("a size between two", machine("n1-standard-5"), f"{AT}.machine_type", "is not supported", COMPUTE),
    Job(
        "a type without a count",
        machine("n1-standard-4", "NVIDIA_TESLA_T4"),
        f"{AT}.accelerator_type",
        BOTH,
        VERTEX + "prefect-gcp#175",
    ),
    Job(
        "a count without a type",
        machine("n1-standard-4", None, 1),
        f"{AT}.accelerator_type",
        BOTH,
        VERTEX + "prefect-gcp#175",
    ),
    Job(
        "a GPU on the wrong machine",
        machine("n1-standard-4", "NVIDIA_TESLA_A100", 1),
        "",
        'Accelerator "NVIDIA_TESLA_A100" is not supported for machine type "n1-standard-4".',
        VERTEX + "vertex-ai-samples#213",
    ),
    Job(
        "a GPU that training no longer has",
        machine("n1-standard-4", "NVIDIA_TESLA_K80", 1),
        "",
        'Accelerator "NVIDIA_TESLA_K80" is not supported for machine type "n1-standard-4".',
        VERTEX + "vertex-ai-samples#213",
    ),
    Job(
        "too many GPUs", machine("a2-highgpu-1g", "NVIDIA_TESLA_A100", 2), "", "takes 1 accelerators", COMPUTE
    ),
    Job(
        "three GPUs",
        machine("n1-standard-8", "NVIDIA_TESLA_T4", 3),
        "",
        "takes 1, 2, 4 accelerators",
        COMPUTE,
    ),
    Job(
        "a TPU on a VM",
        machine("n1-standard-4", "TPU_V3", 8),
        "",
        'Accelerator "TPU_V3" is not supported',
        COMPUTE,
    ),
    Job(
        "seven TPU cores",
        machine("cloud-tpu", "TPU_V3", 7),
        f"{AT}.accelerator_count",
        "8 at a time",
        COMPUTE,
    ),
    Job(
        "a GPU on a TPU machine",
        machine("cloud-tpu", "NVIDIA_L4", 1),
        f"{AT}.accelerator_type",
        "TPU_V2",
        COMPUTE,
    ),
    Job("a v5e without a topology", machine("ct5lp-hightpu-4t"), f"{AT}.tpu_topology", REQUIRED, COMPUTE),
]
SCHEDULING = [
    Job(
        "no time at all",
        put("jobSpec.scheduling.timeout", "0s"),
        "job_spec.scheduling.timeout",
        "positive",
        described("Scheduling.timeout"),
    ),
    Job(
        "a wait before now",
        put("jobSpec.scheduling.maxWaitDuration", "-1s"),
        "job_spec.scheduling.max_wait_duration",
        "zero or positive",
        described("Scheduling.maxWaitDuration"),
    ),
    Job("FLEX_START on CPUs", FLEX, "job_spec.scheduling.strategy", "FLEX_START does not support", DWS),
    Job(
        "FLEX_START on a T4",
        both(machine("n1-standard-4", "NVIDIA_TESLA_T4", 1), FLEX),
        "job_spec.scheduling.strategy",
        "NVIDIA_TESLA_T4",
        DWS,
    ),
    Job(
        "FLEX_START for eight days",
        both(machine(*A100), FLEX, put("jobSpec.scheduling.timeout", "691200s")),
        "job_spec.scheduling.timeout",
        "at most 7 days",
        DWS,
    ),
    Job(
        "FLEX_START with two kinds of machines",
        both(
            machine(*A100),
            FLEX,
            pools(
                {
                    **POOL,
                    "machineSpec": {
                        "machineType": "g2-standard-4",
                        "acceleratorType": "NVIDIA_L4",
                        "acceleratorCount": 1,
                    },
                }
            ),
        ),
        "job_spec.scheduling.strategy",
        "the same machine type",
        DWS,
    ),
    Job(
        "FLEX_START with a reservation",
        both(reserved("ANY_RESERVATION"), FLEX),
        "job_spec.scheduling.strategy",
        "reservations",
        DWS,
    ),
    Job(
        "SPOT on a TPU Pod",
        both(machine("cloud-tpu", "TPU_V3", 32), put("jobSpec.scheduling.strategy", "SPOT")),
        "job_spec.scheduling.strategy",
        "TPU Pods",
        SPOT,
    ),
    Job(
        "a reservation of no type",
        machine(*A100, reservationAffinity={}),
        f"{AT}.reservation_affinity.reservation_affinity_type",
        REQUIRED,
        described("ReservationAffinity.reservationAffinityType"),
    ),
    Job(
        "a specific reservation without names",
        reserved("SPECIFIC_RESERVATION", **NAMED),
        f"{AT}.reservation_affinity.values",
        REQUIRED,
        described("ReservationAffinity.values"),
    ),
    Job(
        "a specific reservation by another key",
        reserved("SPECIFIC_RESERVATION", key="name", values=["projects/p/zones/z/reservations/r"]),
        f"{AT}.reservation_affinity.key",
        "compute.googleapis.com/reservation-name",
        described("ReservationAffinity.key"),
    ),
    Job(
        "a reservation by its short name",
        reserved("SPECIFIC_RESERVATION", **NAMED, values=["mine"]),
        f"{AT}.reservation_affinity.values[0]",
        "projects/PROJECT/zones/ZONE/reservations/NAME",
        described("ReservationAffinity.values"),
    ),
    Job(
        "any reservation, by name",
        reserved("ANY_RESERVATION", **NAMED, values=["projects/p/zones/z/reservations/r"]),
        f"{AT}.reservation_affinity.key",
        "SPECIFIC_RESERVATION",
        RESERVE,
    ),
    Job(
        "a GB200 without a reservation",
        machine("a4x-highgpu-4g", "NVIDIA_GB200", 4),
        f"{AT}.reservation_affinity",
        "shared reservation",
        COMPUTE,
    ),
    Job(
        "a persistent resource with a reservation",
        both(reserved("ANY_RESERVATION"), put("jobSpec.persistentResourceId", "pool")),
        "job_spec.persistent_resource_id",
        "reservations",
        RESERVE,
    ),
]
JOBS = [
    *UNKNOWN_FIELDS,
    *TYPES,
    *REQUIRED_FIELDS,
    *NAMES_AND_LABELS,
    *ENVIRONMENT,
    *POOLS,
    *MACHINES,
    *SCHEDULING,
]


@pytest.mark.parametrize("case", JOBS, ids=[case.what for case in JOBS])
def test_a_malformed_job_is_refused_as_google_does(emulator: Emulator, case: Job) -> None:
    body = copy.deepcopy(GOOD)
    case.change(body)
    response = requests.post(f"{emulator.url}/aiplatform/v1/{PARENT}/customJobs", json=body, timeout=10)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (case.status, case.status, case.reason)
    assert case.says in error["message"]
    if case.at:
        detail = next(d for d in error["details"] if d["@type"].endswith("google.rpc.BadRequest"))
        fields = [violation["field"] for violation in detail["fieldViolations"]]
        assert case.at in fields


JOBS_PATH = f"{PARENT}/customJobs"
JSON = {"content-type": "application/json"}
DOCUMENTED_FILTER = "customJobs.list, parameter filter, in the discovery document aiplatform.v1"
NUMBERED = "The paths and parameters of the discovery document aiplatform.v1"

REQUESTS = [
    Asked(
        "a cancel with a field that it does not have",
        "POST",
        f"{JOBS_PATH}/1:cancel",
        'Unknown name "foo": Cannot find field.',
        WRITER,
        data={"foo": 1},
    ),
    Asked(
        "a body for a method that has none",
        "POST",
        f"{PARENT}/operations/1:cancel",
        'Unknown name "foo": Cannot find field.',
        WRITER,
        data={"foo": 1},
    ),
    Asked(
        "broken JSON",
        "POST",
        JOBS_PATH,
        'Invalid JSON payload received. Unexpected token.\n{"a": nope}\n      ^',
        PARSER,
        data=b'{"a": nope}',
        headers=JSON,
    ),
    Asked(
        "JSON that ends early",
        "POST",
        JOBS_PATH,
        "Unexpected end of string. Expected a value.",
        PARSER,
        data=b'{"a": ',
        headers=JSON,
    ),
    Asked(
        "no colon",
        "POST",
        JOBS_PATH,
        "Expected : between key:value pair.",
        PARSER,
        data=b'{"a" 1}',
        headers=JSON,
    ),
    Asked(
        "no comma",
        "POST",
        JOBS_PATH,
        "Expected , or } after key:value pair.",
        PARSER,
        data=b'{"a": 1 "b": 2}',
        headers=JSON,
    ),
    Asked("not a number", "POST", JOBS_PATH, "Unexpected token.", PARSER, data=b'{"a": NaN}', headers=JSON),
    Asked(
        "text after the end",
        "POST",
        JOBS_PATH,
        "Parsing terminated before end of input.",
        PARSER,
        data=b"{} {}",
        headers=JSON,
    ),
    Asked(
        "bytes that are no UTF-8",
        "POST",
        JOBS_PATH,
        "Encountered non UTF-8 code points.",
        PARSER,
        data=b'{"a": "\xff"}',
        headers=JSON,
    ),
    Asked(
        "a list at the root",
        "POST",
        JOBS_PATH,
        'Unknown name "": Root element must be a message.',
        FRONT,
        data=b"[]",
        headers=JSON,
    ),
    Asked(
        "a number at the root",
        "POST",
        JOBS_PATH,
        'Unknown name "": Root element must be a message.',
        FRONT,
        data=b"7",
        headers=JSON,
    ),
    Asked(
        "no body",
        "POST",
        JOBS_PATH,
        "List of found errors:\t1.Field: custom_job.display_name; Message: Required field is not set.\t",
        described("CustomJob"),
    ),
    Asked(
        "a form for JSON",
        "POST",
        JOBS_PATH,
        "Cannot bind query parameter.",
        "answers of Google's front to curl -d without a content type",
        data=b'{"displayName": "x"}',
        headers={"content-type": "application/x-www-form-urlencoded"},
    ),
    Asked(
        "too large a body",
        "POST",
        JOBS_PATH,
        "Request payload size exceeds the limit: 10485760 bytes.",
        "answers of Google's front that users report",
        data=b'{"displayName": "' + b"x" * (10 << 20) + b'"}',
        headers=JSON,
    ),
    Asked(
        "an unknown parameter",
        "GET",
        f"{JOBS_PATH}?colour=red",
        'Unknown name "colour": Cannot bind query parameter. '
        "Field 'colour' could not be found in request message.",
        FRONT,
    ),
    Asked(
        "words for a page size",
        "GET",
        f"{JOBS_PATH}?pageSize=many",
        "Invalid value at 'page_size' (TYPE_INT32), \"many\"",
        FRONT,
    ),
    Asked("a page token of nobody's", "GET", f"{JOBS_PATH}?pageToken=never", "page token", "AIP-158"),
    Asked("a filter that does not parse", "GET", f"{JOBS_PATH}?filter=state%3D%3D%3D", "filter", "AIP-160"),
    Asked("a filter of no field", "GET", f"{JOBS_PATH}?filter=colour%3Dred", "colour", DOCUMENTED_FILTER),
    Asked("a state by order", "GET", f"{JOBS_PATH}?filter=state%3E1", "state", DOCUMENTED_FILTER),
    Asked("a time by words", "GET", f"{JOBS_PATH}?filter=create_time%3Enow", "RFC 3339", DOCUMENTED_FILTER),
    Asked("a mask with a space", "GET", f"{JOBS_PATH}?readMask=a%20b", "google.protobuf.FieldMask", NUMBERED),
    Asked("a mask of nobody's", "GET", f"{JOBS_PATH}?readMask=colour", "colour", "AIP-157"),
    Asked(
        "an order that the list does not have",
        "GET",
        f"{JOBS_PATH}?orderBy=createTime",
        'Unknown name "orderBy": Cannot bind query parameter.',
        "ListCustomJobsRequest of google-cloud-aiplatform 2.7.0, which has no order_by",
    ),
    Asked(
        "a stranger's project",
        "GET",
        "projects/another/locations/us-central1/customJobs",
        "Permission denied",
        CODES,
        403,
        "PERMISSION_DENIED",
    ),
    Asked(
        "a location that is none",
        "POST",
        f"projects/{PROJECT}/locations/mars/customJobs",
        "Permission denied on 'locations/mars' (or it may not exist).",
        CODES,
        403,
        "PERMISSION_DENIED",
        GOOD,
    ),
    Asked(
        "a region with a typing error",
        "POST",
        f"projects/{PROJECT}/locations/us-central11/customJobs",
        "Permission denied on 'locations/us-central11' (or it may not exist).",
        CODES,
        403,
        "PERMISSION_DENIED",
        GOOD,
    ),
    Asked(
        "a zone for a region",
        "POST",
        f"projects/{PROJECT}/locations/us-central1-a/customJobs",
        "Permission denied on 'locations/us-central1-a' (or it may not exist).",
        CODES,
        403,
        "PERMISSION_DENIED",
        GOOD,
    ),
    Asked(
        "a location of another host",
        "GET",
        JOBS_PATH,
        "The provided location ID doesn't match the endpoint. The valid location ID is `europe-west4`.",
        VERTEX + "python-aiplatform and agent engines, among many",
        headers={"host": "europe-west4-aiplatform.googleapis.com"},
    ),
    Asked("a job that is not there", "GET", f"{JOBS_PATH}/1", "customJobs/1", CODES, 404, "NOT_FOUND"),
    Asked(
        "a job to delete that is not there",
        "DELETE",
        f"{JOBS_PATH}/1",
        "customJobs/1",
        CODES,
        404,
        "NOT_FOUND",
    ),
    Asked(
        "a job to cancel that is not there",
        "POST",
        f"{JOBS_PATH}/1:cancel",
        "customJobs/1",
        CODES,
        404,
        "NOT_FOUND",
        {},
    ),
    Asked(
        "an operation that is not there",
        "GET",
        f"{PARENT}/operations/1",
        "operations/1",
        CODES,
        404,
        "NOT_FOUND",
    ),
    Asked(
        "a verb that the path has not",
        "PATCH",
        f"{JOBS_PATH}/1",
        "was not found",
        NUMBERED,
        404,
        "NOT_FOUND",
        {},
    ),
    Asked(
        "a method that the job has not",
        "POST",
        f"{JOBS_PATH}/1:pause",
        "was not found",
        NUMBERED,
        404,
        "NOT_FOUND",
        {},
    ),
    Asked("a path that Google has not", "GET", "nothing/here", "was not found", NUMBERED, 404, "NOT_FOUND"),
]


@pytest.mark.parametrize("case", REQUESTS, ids=[case.what for case in REQUESTS])
def test_a_malformed_request_is_refused_as_google_does(emulator: Emulator, case: Asked) -> None:
    form = {"json": case.data} if isinstance(case.data, dict) else {"data": case.data}
    url = f"{emulator.url}/aiplatform/v1/{case.path}"
    response = requests.request(case.verb, url, headers=dict(case.headers), timeout=10, **form)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (case.status, case.status, case.reason)
    assert case.says in error["message"]


def test_every_case_names_its_source_and_there_are_enough() -> None:
    cases: list[Job | Asked] = [*JOBS, *REQUESTS]
    assert all(case.source for case in cases)
    assert len({case.what for case in cases}) == len(cases) >= 60


def test_every_violation_is_told_at_once_in_vertex_ais_form(emulator: Emulator) -> None:
    """Source: "List of found errors" with tabs, as users report it for a persistent resource, July 2024."""
    body = copy.deepcopy(GOOD)
    both(put("displayName", ""), put("pool.containerSpec.imageUri", ""))(body)
    response = requests.post(f"{emulator.url}/aiplatform/v1/{JOBS_PATH}", json=body, timeout=10)
    places = ["custom_job.display_name", f"{RULE0}.container_spec.image_uri"]
    parts = [f"\t{number}.Field: {at}; Message: {REQUIRED}" for number, at in enumerate(places, 1)]
    assert response.json()["error"] == {
        "code": 400,
        "message": f"List of found errors:{''.join(parts)}\t",
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": at, "description": REQUIRED} for at in places],
            }
        ],
    }


def test_both_spellings_enum_forms_and_integer_forms_are_one(emulator: Emulator) -> None:
    """proto JSON takes snake_case and camelCase, names and numbers; output-only fields are ignored."""
    gpu = {"machine_type": "n1-standard-4", "accelerator_type": 5, "accelerator_count": 1.0}
    container = {"image_uri": "trainer", "command": ["true"]}
    spec = {
        "worker_pool_specs": [{"machine_spec": gpu, "replica_count": 1, "container_spec": container}],
        "scheduling": {"strategy": 4},
    }
    body = {"display_name": "snake", "job_spec": spec, "state": "JOB_STATE_FAILED", "name": "mine"}
    job = requests.post(f"{emulator.url}/aiplatform/v1/{JOBS_PATH}", json=body, timeout=10).json()
    first = job["jobSpec"]["workerPoolSpecs"][0]
    assert (job["displayName"], job["jobSpec"]["scheduling"]) == ("snake", {"strategy": "SPOT"})
    assert (first["machineSpec"]["acceleratorType"], first["replicaCount"]) == ("NVIDIA_TESLA_T4", "1")
    assert job["state"] != "JOB_STATE_FAILED"
    assert job["name"] != "mine"


def test_a_skipped_pool_and_international_labels_are_allowed(emulator: Emulator) -> None:
    """Sources: the descriptions of CustomJobSpec.workerPoolSpecs and CustomJob.labels."""
    body = copy.deepcopy(GOOD)
    both(pools({}, POOL), put("labels", {"größe": "日本", "1st": ""}))(body)
    response = requests.post(f"{emulator.url}/aiplatform/v1/{JOBS_PATH}", json=body, timeout=10)
    assert response.status_code == 200, response.text


def test_a_running_job_is_not_deleted_and_a_finished_one_not_cancelled(emulator: Emulator) -> None:
    """Source: FAILED_PRECONDITION is 400 in google/rpc/code.proto; the wording is not established."""
    url = f"{emulator.url}/aiplatform/v1/{JOBS_PATH}"
    body = copy.deepcopy(GOOD)
    put("pool.containerSpec.command", ["python3", "-c", "import time; time.sleep(60)"])(body)
    running = requests.post(url, json=body, timeout=10).json()["name"].rsplit("/", 1)[1]
    until(lambda: requests.get(f"{url}/{running}", timeout=10).json()["state"] == "JOB_STATE_RUNNING")
    refused = requests.delete(f"{url}/{running}", timeout=10)
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    requests.post(f"{url}/{running}:cancel", json={}, timeout=10)
    finished = requests.post(url, json=GOOD, timeout=10).json()["name"].rsplit("/", 1)[1]
    until(lambda: requests.get(f"{url}/{finished}", timeout=10).json()["state"] == "JOB_STATE_SUCCEEDED")
    refused = requests.post(f"{url}/{finished}:cancel", json={}, timeout=10)
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
