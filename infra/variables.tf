variable "environment" {
  description = "dev, staging or prod: part of every name."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment must be dev, staging or prod."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "copy_region" {
  description = "Region that the database's backups are copied to, against the loss of the first; null for none."
  type        = string
  default     = null
}

variable "zones" {
  description = "Availability zones: two, or three (which Redshift Serverless needs)."
  type        = number
}

variable "cidr" {
  description = "Address range of the network, a /16. Different for networks that are to be peered."
  type        = string
  default     = "10.0.0.0/16"
}

variable "operator_host" {
  description = "Whether there is a small host in the network for migrations and runbooks, reached through Session Manager."
  type        = bool
  default     = false
}

variable "protected" {
  description = "Whether what holds data refuses to be deleted and leaves a snapshot behind."
  type        = bool
}

variable "database" {
  description = "The database: engine (postgres or aurora-postgresql), sizes, replicas, backups. See modules/database."
  type = object({
    engine                 = optional(string, "postgres")
    engine_version         = string
    instance_class         = string
    replica_instance_class = string
    replicas               = number
    multi_az               = bool
    storage_gib            = number
    max_storage_gib        = number
    iops                   = optional(number)
    serverless_capacity    = optional(object({ min = number, max = number }), { min = 0.5, max = 8 })
    backup_retention_days  = number
    monitoring_interval_s  = number
  })
}

variable "cache" {
  description = "Redis: node type, shards, replicas of each. See modules/cache."
  type        = object({ node_type = string, shards = number, replicas_per_shard = number })
}

variable "stream" {
  description = "Kinesis: shards (null for on-demand) and retention. See modules/stream."
  type        = object({ shards = optional(number), retention_hours = number })
}

variable "warehouse" {
  description = "Redshift: kind none, serverless or nodes. See modules/warehouse."
  type = object({
    kind      = string
    base_rpu  = optional(number, 8)
    max_rpu   = optional(number, 32)
    node_type = optional(string, "ra3.xlplus")
    nodes     = optional(number, 2)
  })
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "budget_usd" {
  description = "What a month may cost: above what docs/cost.md estimates."
  type        = number
}

variable "alarm_emails" {
  description = "Who gets alarms."
  type        = set(string)
  default     = []
}

variable "runbook_url" {
  description = "Where ops/runbooks can be read."
  type        = string
  default     = "https://github.com/example/eaves/blob/main/ops/runbooks"
}

variable "jwt" {
  description = "Who signs the callers' tokens (https URL), what audience they name, and where the keys are if not at the issuer's /.well-known/jwks.json (https URL)."
  type        = object({ issuer = string, audience = string, keys_url = optional(string) })

  validation {
    condition     = startswith(var.jwt.issuer, "https://")
    error_message = "jwt.issuer must be an https URL."
  }

  validation {
    condition     = var.jwt.keys_url == null || startswith(coalesce(var.jwt.keys_url, "-"), "https://")
    error_message = "jwt.keys_url must be an https URL."
  }
}
