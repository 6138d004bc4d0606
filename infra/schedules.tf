# What `launch schedule` needs beside the rest: the account that ticks run as. The function itself is deployed by
# `launch schedule create`, in the version that the launcher has; Cloud Scheduler calls it as the same account.

resource "google_service_account" "scheduler" {
  account_id   = "headway-scheduler"
  display_name = "Headway: ticks of schedules"
  depends_on   = [google_project_service.used]
}

# Creates, lists and cancels jobs; is who may call the function; writes the function's log.
resource "google_project_iam_member" "scheduler" {
  for_each = toset([
    "roles/aiplatform.user",
    "roles/logging.logWriter",
    "roles/run.invoker",
  ])
  project = var.project
  role    = each.value
  member  = google_service_account.scheduler.member
}

# Reads schedules and the data's versions, writes ticks and the plans of runs.
resource "google_storage_bucket_iam_member" "scheduler" {
  bucket = google_storage_bucket.headway.name
  role   = "roles/storage.objectUser"
  member = google_service_account.scheduler.member
}

# Looks whether a run's image is still there before it starts the run.
resource "google_artifact_registry_repository_iam_member" "scheduler_looks_at_images" {
  location   = google_artifact_registry_repository.headway.location
  repository = google_artifact_registry_repository.headway.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.scheduler.member
}

# Its jobs run as the training account.
resource "google_service_account_iam_member" "scheduler_acts_as_training" {
  service_account_id = google_service_account.training.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.scheduler.member
}

# Cloud Functions copies the function's source into a bucket of its own, from which the build reads.
resource "google_project_iam_member" "build_reads_function_source" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.build.member

  condition {
    title      = "source-of-functions"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-\")"
  }
}
