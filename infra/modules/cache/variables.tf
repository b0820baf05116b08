variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "node_type" {
  description = "Node type, such as cache.r6g.xlarge."
  type        = string
}

variable "shards" {
  description = "Shards. More than one makes it a cluster: the functions then get EAVES_REDIS_CLUSTER=true."
  type        = number

  validation {
    condition     = var.shards >= 1 && var.shards <= 90
    error_message = "shards must be 1 to 90."
  }
}

variable "replicas_per_shard" {
  description = "Replicas of each shard; with one or more a failed node is replaced by one."
  type        = number

  validation {
    condition     = var.replicas_per_shard >= 0 && var.replicas_per_shard <= 5
    error_message = "replicas_per_shard must be 0 to 5."
  }

  # Cluster mode demands automatic failover, and that a replica to fail over to.
  validation {
    condition     = var.shards == 1 || var.replicas_per_shard >= 1
    error_message = "replicas_per_shard must be at least 1 where there are several shards."
  }
}

variable "engine_version" {
  description = "Version of Redis."
  type        = string
  default     = "7.1"
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Group of the cache."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the cache and its secret."
  type        = string
}

variable "recovery_days" {
  description = "How long a deleted secret can be brought back; 0 deletes at once."
  type        = number
}

variable "log_retention_days" {
  description = "How long the slow log is kept."
  type        = number
}
