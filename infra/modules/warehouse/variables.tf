variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "kind" {
  description = "none, serverless or nodes."
  type        = string

  validation {
    condition     = contains(["none", "serverless", "nodes"], var.kind)
    error_message = "kind must be none, serverless or nodes."
  }
}

variable "base_rpu" {
  description = "Base capacity of the serverless workgroup, in Redshift processing units: 8 to 512 by eights."
  type        = number
  default     = 8
}

variable "max_rpu" {
  description = "Most the serverless workgroup grows to."
  type        = number
  default     = 32
}

variable "node_type" {
  description = "Node type, such as ra3.xlplus or ra3.4xlarge."
  type        = string
  default     = "ra3.xlplus"
}

variable "nodes" {
  description = "Number of nodes."
  type        = number
  default     = 2
}

variable "snapshot_days" {
  description = "How long automatic snapshots are kept."
  type        = number
  default     = 7
}

variable "subnet_ids" {
  description = "Private subnets; serverless needs three zones."
  type        = list(string)
}

variable "security_group_id" {
  description = "Group of the warehouse."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the data."
  type        = string
}

variable "archive_bucket_arn" {
  description = "Bucket with the Parquet files that it loads."
  type        = string
}

variable "final_snapshot" {
  description = "Whether a snapshot is taken before it is deleted."
  type        = bool
}
