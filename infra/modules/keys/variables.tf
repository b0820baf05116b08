variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}
