variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "cidr" {
  description = "Address range of the network, a /16."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "cidr must be an IPv4 range of 16 bits, such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "In how many availability zones: two or three."
  type        = number

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones must be 2 or 3."
  }
}

variable "endpoints" {
  description = "Services reached through interface endpoints, by their short names. Functions have no other way out."
  type        = set(string)
  # lambda: plugin-admin starts its backtests by invoking itself.
  default = ["kinesis-streams", "lambda", "logs", "monitoring", "secretsmanager", "sqs", "ssm", "xray"]
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow logs."
  type        = string
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
}
