variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "instance_type" {
  description = "Instance type, of arm64: the image is."
  type        = string
  default     = "t4g.micro"
}

variable "storage_gib" {
  description = "Size of its disk."
  type        = number
  default     = 8
}

variable "subnet_id" {
  description = "Private subnet that it is in: the one with the endpoints of Session Manager."
  type        = string
}

variable "security_group_id" {
  description = "Group of operators."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of its disk."
  type        = string
}
