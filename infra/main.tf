# The smallest Google project in which `launch submit` works: a bucket, an image repository, two service accounts.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.30, < 8"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

locals {
  bucket = coalesce(var.bucket, "${var.project}-headway")
  services = [
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
  ]
}

resource "google_project_service" "used" {
  for_each           = toset(local.services)
  service            = each.value
  disable_on_destroy = false
}

# Vertex AI trains from and to a bucket of its own region. All names in it are digests or run ids, written once:
# versioning would only keep what was meant to go.
resource "google_storage_bucket" "headway" {
  name                        = local.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = false
  }

  # Build contexts and build logs are of no use once the image exists; bundles, runs and data are kept.
  lifecycle_rule {
    condition {
      age            = var.build_files_days
      matches_prefix = ["headway/builds/", "headway/build-logs/"]
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_artifact_registry_repository" "headway" {
  repository_id = "headway"
  location      = var.region
  format        = "DOCKER"
  description   = "Training images, named by the digest of what they are made of"

  depends_on = [google_project_service.used]
}
