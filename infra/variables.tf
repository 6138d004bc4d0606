variable "project" {
  description = "The Google project's id."
  type        = string
}

variable "region" {
  description = "Where jobs run by default, and where bucket and images are."
  type        = string
  default     = "us-central1"
}

variable "bucket" {
  description = "The bucket's name, unique in the world; PROJECT-headway where none is given."
  type        = string
  default     = null
}

variable "tracking_uri" {
  description = "The MLflow server that jobs and people reach. Headway does not set one up yet."
  type        = string
}

variable "submitters" {
  description = "Who may submit jobs, e.g. [\"group:research@example.com\", \"user:ada@example.com\"]."
  type        = list(string)
  default     = []
}

variable "secrets" {
  description = "Names of the Secret Manager secrets that jobs may read. They exist already; Terraform never sees their values."
  type        = list(string)
  default     = []
}

variable "build_files_days" {
  description = "After how many days build contexts and build logs are deleted."
  type        = number
  default     = 30
}
