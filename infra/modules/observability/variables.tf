variable "name" {
  description = "Prefix of names, such as eaves-prod."
  type        = string
}

variable "alarms" {
  description = "The alarms of ops/alarms.json: what, from when on, how urgent, and the runbook."
  type = map(object({
    namespace          = string
    metric             = string
    unit               = string
    dimensions         = map(string)
    over               = optional(string)
    statistic          = string
    comparison         = string
    threshold          = number
    period_s           = number
    periods            = number
    datapoints         = optional(number)
    treat_missing_data = string
    urgency            = string
    runbook            = string
    description        = string
  }))
}

variable "instances" {
  description = "What alarms with `over` are made for, each of a group: databases, rds, rds_primary, replicas, aurora, cache_nodes."
  type        = map(list(string))
}

variable "values" {
  description = "What stands for {name} in the alarms' dimensions and $${name} in the dashboard: region, stream, proxy, dead_letters, environment."
  type        = map(string)
}

variable "topic_arns" {
  description = "Topics by urgency: page, ticket."
  type        = map(string)
}

variable "runbook_url" {
  description = "Where ops/runbooks can be read."
  type        = string
}

variable "dashboard_file" {
  description = "The dashboard's JSON, with $${name} for what depends on the environment."
  type        = string
}
