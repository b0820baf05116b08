variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "roles" {
  description = "Database roles that log in through the proxy; each gets a secret with its password."
  type        = set(string)
  default     = ["eaves_admin", "eaves_flush", "eaves_ingest", "eaves_olap", "eaves_query"]
}

variable "is_aurora" {
  description = "Whether the target is an Aurora cluster."
  type        = bool
}

variable "target_identifier" {
  description = "Identifier of the instance (RDS) or cluster (Aurora)."
  type        = string
}

variable "max_connections_percent" {
  description = "Share of the database's max_connections that the proxy may take."
  type        = number
  default     = 80
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Group of the proxy."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the secrets."
  type        = string
}

variable "recovery_days" {
  description = "How long a deleted secret can be brought back; 0 deletes at once."
  type        = number
}
