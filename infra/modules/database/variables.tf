variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "engine" {
  description = "postgres: RDS instance with standby and replicas. aurora-postgresql: an Aurora cluster, serverless v2 or provisioned."
  type        = string
  default     = "postgres"

  validation {
    condition     = contains(["postgres", "aurora-postgresql"], var.engine)
    error_message = "engine must be postgres or aurora-postgresql."
  }
}

variable "engine_version" {
  description = "Version of PostgreSQL; 15 or newer."
  type        = string
}

variable "instance_class" {
  description = "Instance class of the primary; db.serverless for Aurora Serverless v2."
  type        = string
}

variable "replica_instance_class" {
  description = "Instance class of the replicas."
  type        = string
}

variable "replicas" {
  description = "Number of read replicas."
  type        = number

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 15
    error_message = "replicas must be 0 to 15."
  }
}

variable "multi_az" {
  description = "Whether a standby in another zone takes over (RDS; Aurora fails over to a replica)."
  type        = bool
}

variable "storage_gib" {
  description = "Storage at first (RDS)."
  type        = number
}

variable "max_storage_gib" {
  description = "Up to how much storage grows by itself (RDS)."
  type        = number
}

variable "iops" {
  description = "Provisioned IOPS of gp3 from 400 GiB on; null for the baseline (RDS)."
  type        = number
  default     = null
}

variable "serverless_capacity" {
  description = "Least and most Aurora capacity units; only for db.serverless."
  type        = object({ min = number, max = number })
  default     = { min = 0.5, max = 8 }
}

variable "backup_retention_days" {
  description = "How far back point-in-time recovery reaches, 1 to 35 days."
  type        = number

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 1 to 35."
  }
}

variable "monitoring_interval_s" {
  description = "Enhanced monitoring every so many seconds; 0 switches it off."
  type        = number

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.monitoring_interval_s)
    error_message = "monitoring_interval_s must be 0, 1, 5, 10, 15, 30 or 60."
  }
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted."
  type        = bool
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Group of the database."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of storage, backups, secrets and insights."
  type        = string
}

variable "slot_max_wal_mib" {
  description = "How much WAL a replication slot may keep before it is given up, MiB: an idle consumer must not fill the disk."
  type        = number
  default     = 51200
}
