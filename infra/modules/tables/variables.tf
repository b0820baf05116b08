variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the tables."
  type        = string
}

variable "deletion_protection" {
  description = "Whether the tables refuse to be deleted."
  type        = bool
}
