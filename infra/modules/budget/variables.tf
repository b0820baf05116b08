variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "monthly_usd" {
  description = "What a month may cost."
  type        = number
}

variable "topic_arn" {
  description = "Topic that is told."
  type        = string
}

variable "environment" {
  description = "Value of the tag Environment that the budget is for."
  type        = string
}
