output "host" {
  description = "Where the warehouse answers; null without one."
  value = var.kind == "serverless" ? one(aws_redshiftserverless_workgroup.this[0].endpoint[*].address) : (
    var.kind == "nodes" ? aws_redshift_cluster.this[0].dns_name : null
  )
}

output "admin_secret_arn" {
  description = "Secret with name and password of the owner, rotated by Redshift; null without a warehouse."
  value = var.kind == "serverless" ? aws_redshiftserverless_namespace.this[0].admin_password_secret_arn : (
    var.kind == "nodes" ? aws_redshift_cluster.this[0].master_password_secret_arn : null
  )
}

output "load_role_arn" {
  description = "Role that COPY uses to read the archive; null without a warehouse."
  value       = one(aws_iam_role.load[*].arn)
}
