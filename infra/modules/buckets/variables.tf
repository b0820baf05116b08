variable "name" {
  description = "Prefix of names, such as eaves-prod. The account's number is added: bucket names are global."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the objects."
  type        = string
}

variable "archive_days" {
  description = "After how many days archived partitions move to infrequent access, to instant-retrieval Glacier, to Deep Archive."
  type        = object({ infrequent = number, glacier = number, deep = number })
  default     = { infrequent = 30, glacier = 90, deep = 365 }
}
