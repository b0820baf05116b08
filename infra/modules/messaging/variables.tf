variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of messages."
  type        = string
}

variable "subscribers" {
  description = "E-mail addresses that get alarms."
  type        = set(string)
}
