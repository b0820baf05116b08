output "parameter_names" {
  description = "Names of the parameters that sam-template.yaml reads."
  value       = module.parameters.names
}

output "database" {
  description = "Hosts, identifiers and the owner's secret, for migrations and runbooks."
  value = {
    primary_host       = module.database.primary_host
    primary_identifier = module.database.primary_identifier
    replica_host       = module.database.replica_host
    proxy_host         = module.proxy.host
    owner_secret_arn   = module.database.owner_secret_arn
    role_secret_arns   = module.proxy.role_secret_arns
  }
}

output "cache_nodes" {
  description = "Ids of the cache's nodes."
  value       = module.cache.node_identifiers
}

output "warehouse" {
  description = "Where the warehouse answers, the role that loads it, and the secret of its owner; nulls without one."
  value = {
    host             = module.warehouse.host
    load_role_arn    = module.warehouse.load_role_arn
    admin_secret_arn = module.warehouse.admin_secret_arn
  }
}

output "operators" {
  description = "The host that people work from (null without one), and the group for hosts of your own."
  value = {
    instance_id       = one(module.operators[*].instance_id)
    security_group_id = module.network.security_groups.operators
  }
}

output "network_id" {
  description = "The network."
  value       = module.network.vpc_id
}

output "observability" {
  description = "Dashboard, alarms and budget."
  value = {
    dashboard = module.observability.dashboard_name
    alarms    = module.observability.alarm_names
    budget    = module.budget.name
  }
}

output "backup_copy_key_arn" {
  description = "Key of the backups in the other region; null if none are copied."
  value       = one(module.backup_copy[*].key_arn)
}
