variable "name" {
  description = "Name of the stream."
  type        = string
}

variable "shards" {
  description = "Provisioned shards (1 MiB/s or 1,000 records/s each); null for on-demand."
  type        = number
  default     = null
}

variable "retention_hours" {
  description = "How long records are kept: longer than the longest outage of the database to survive without loss (docs/delivery.md)."
  type        = number

  validation {
    condition     = var.retention_hours >= 24 && var.retention_hours <= 8760
    error_message = "retention_hours must be 24 to 8760."
  }
}

variable "kms_key_arn" {
  description = "Key of the records."
  type        = string
}
