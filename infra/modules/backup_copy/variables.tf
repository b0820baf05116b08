variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "primary_arn" {
  description = "The instance whose backups are copied."
  type        = string
}

variable "backup_retention_days" {
  description = "How long the copies are kept."
  type        = number
}
