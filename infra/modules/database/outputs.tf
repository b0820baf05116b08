output "is_aurora" {
  description = "Whether it is an Aurora cluster."
  value       = local.aurora
}

output "primary_identifier" {
  description = "Identifier of the instance (RDS) or the cluster (Aurora) that takes writes."
  value       = local.aurora ? aws_rds_cluster.this[0].cluster_identifier : aws_db_instance.primary[0].identifier
}

output "instance_identifiers" {
  description = "Identifiers of all instances, the primary first."
  value = local.aurora ? aws_rds_cluster_instance.this[*].identifier : concat(
    aws_db_instance.primary[*].identifier, aws_db_instance.replica[*].identifier
  )
}

output "replica_identifiers" {
  description = "Identifiers of the read replicas (RDS)."
  value       = aws_db_instance.replica[*].identifier
}

output "primary_host" {
  description = "Where the primary answers without the proxy: for migrations only."
  value       = local.aurora ? aws_rds_cluster.this[0].endpoint : aws_db_instance.primary[0].address
}

output "replica_host" {
  description = "Where the read replicas answer, separated by commas; null without one. Aurora: through the proxy's reader endpoint instead."
  value       = local.aurora || var.replicas == 0 ? null : join(",", aws_db_instance.replica[*].address)
}

output "owner_secret_arn" {
  description = "Secret with name and password of the owner, rotated by RDS: for `eaves db migrate`."
  value = local.aurora ? one(aws_rds_cluster.this[0].master_user_secret[*].secret_arn) : one(
    aws_db_instance.primary[0].master_user_secret[*].secret_arn
  )
}

output "primary_arn" {
  description = "ARN of the instance (RDS) or the cluster (Aurora) that takes writes."
  value       = local.aurora ? aws_rds_cluster.this[0].arn : aws_db_instance.primary[0].arn
}

output "parameter_names" {
  description = "What the parameter group sets."
  value = sort(flatten([
    [for group in aws_db_parameter_group.this : [for parameter in group.parameter : parameter.name]],
    [for group in aws_rds_cluster_parameter_group.this : [for parameter in group.parameter : parameter.name]],
  ]))
}
