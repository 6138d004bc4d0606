output "headway_toml" {
  description = "The profile: terraform output -raw headway_toml > headway.toml"
  value       = <<-TOML
    default = "prod"

    [profiles.prod]
    project = "${var.project}"
    region = "${var.region}"
    bucket = "${google_storage_bucket.headway.name}"
    dvc_remote = "gs://${google_storage_bucket.headway.name}/dvc"
    tracking_uri = "${var.tracking_uri}"
    service_account = "${google_service_account.training.email}"
    build_service_account = "${google_service_account.build.email}"
    scheduler_service_account = "${google_service_account.scheduler.email}"
    repository = "${google_artifact_registry_repository.headway.repository_id}"
  TOML
}
