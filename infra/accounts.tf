# Two accounts with narrow roles (schedules.tf has the third), and the people who may submit.

# Builds images: reads the context, writes the log and the image.
resource "google_service_account" "build" {
  account_id   = "headway-build"
  display_name = "Headway: builds training images"
  depends_on   = [google_project_service.used]
}

# Runs as the training container: reads bundle and data, writes what the run makes.
resource "google_service_account" "training" {
  account_id   = "headway-training"
  display_name = "Headway: training jobs"
  depends_on   = [google_project_service.used]
}

locals {
  act_as = {
    build     = google_service_account.build.name
    training  = google_service_account.training.name
    scheduler = google_service_account.scheduler.name
  }
  accounts = {
    build    = google_service_account.build.member
    training = google_service_account.training.member
  }
}

# legacyBucketReader adds storage.buckets.get, which Cloud Build asks of its logs bucket.
resource "google_storage_bucket_iam_member" "build_log_bucket" {
  bucket = google_storage_bucket.headway.name
  role   = "roles/storage.legacyBucketReader"
  member = google_service_account.build.member
}

resource "google_storage_bucket_iam_member" "accounts" {
  for_each = local.accounts
  bucket   = google_storage_bucket.headway.name
  role     = "roles/storage.objectUser"
  member   = each.value
}

resource "google_artifact_registry_repository_iam_member" "build_writes" {
  location   = google_artifact_registry_repository.headway.location
  repository = google_artifact_registry_repository.headway.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

resource "google_artifact_registry_repository_iam_member" "training_reads" {
  location   = google_artifact_registry_repository.headway.location
  repository = google_artifact_registry_repository.headway.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.training.member
}

resource "google_project_iam_member" "logs" {
  for_each = local.accounts
  project  = var.project
  role     = "roles/logging.logWriter"
  member   = each.value
}

# Secrets are granted one by one, by name (environment.secrets of a config.yaml): never all of the project's.
resource "google_secret_manager_secret_iam_member" "training" {
  for_each  = toset(var.secrets)
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.training.member
}

# The people (or a group) who submit: they create builds, jobs, schedules and their function, look at logs, and act
# as the three accounts.
resource "google_project_iam_member" "submitters" {
  for_each = {
    for pair in setproduct(var.submitters, [
      "roles/aiplatform.user",
      "roles/cloudbuild.builds.editor",
      "roles/cloudfunctions.developer",
      "roles/cloudscheduler.admin",
      "roles/logging.viewer",
      "roles/serviceusage.serviceUsageConsumer",
    ]) : join(" ", pair) => { member = pair[0], role = pair[1] }
  }
  project = var.project
  role    = each.value.role
  member  = each.value.member
}

resource "google_storage_bucket_iam_member" "submitters" {
  for_each = {
    for pair in setproduct(var.submitters, [
      "roles/storage.objectUser",
      "roles/storage.legacyBucketReader",
    ]) : join(" ", pair) => { member = pair[0], role = pair[1] }
  }
  bucket = google_storage_bucket.headway.name
  role   = each.value.role
  member = each.value.member
}

resource "google_artifact_registry_repository_iam_member" "submitters" {
  for_each   = toset(var.submitters)
  location   = google_artifact_registry_repository.headway.location
  repository = google_artifact_registry_repository.headway.name
  role       = "roles/artifactregistry.reader"
  member     = each.value
}

resource "google_service_account_iam_member" "submitters_act_as" {
  for_each = {
    for pair in setproduct(var.submitters, ["build", "training", "scheduler"]) : join(" ", pair) => { member = pair[0], account = pair[1] }
  }
  service_account_id = local.act_as[each.value.account]
  role               = "roles/iam.serviceAccountUser"
  member             = each.value.member
}

# A trial that finds that the training never logs the sweep's metric ends the sweep: all that it may do on Vertex AI.
resource "google_project_iam_custom_role" "trials" {
  role_id = "headwayTrials"
  title   = "Headway: trials end their sweep"
  permissions = [
    "aiplatform.hyperparameterTuningJobs.cancel",
    "aiplatform.hyperparameterTuningJobs.list",
  ]
  depends_on = [google_project_service.used]
}

resource "google_project_iam_member" "trials" {
  project = var.project
  role    = google_project_iam_custom_role.trials.name
  member  = google_service_account.training.member
}
