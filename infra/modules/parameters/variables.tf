variable "prefix" {
  description = "Path of all parameters, such as /eaves/prod."
  type        = string
}

variable "texts" {
  description = "Parameters by their path below the prefix."
  type        = map(string)
}

variable "lists" {
  description = "Parameters that are lists, by their path below the prefix."
  type        = map(list(string))
}
