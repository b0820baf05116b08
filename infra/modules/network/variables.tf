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
  # lambda: plugin-admin starts its backtests by invoking itself. xray: a collector of traces beside a
  # function. Logs and metrics are not among them: Lambda itself takes these from the functions' output.
  default = ["kinesis-streams", "lambda", "secretsmanager", "xray"]
}

variable "operator_host" {
  description = "Whether there is a host for operators, and with it the endpoints of Session Manager."
  type        = bool
}

variable "session_endpoints" {
  description = "Services that Session Manager needs in a network without a way out."
  type        = set(string)
  # ec2messages: what the agent falls back to.
  default = ["ec2messages", "ssm", "ssmmessages"]
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow logs."
  type        = string
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
}
