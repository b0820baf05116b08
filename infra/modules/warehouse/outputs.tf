output "host" {
  description = "Where the warehouse answers; null without one."
  value = var.kind == "serverless" ? one(aws_redshiftserverless_workgroup.this[0].endpoint[*].address) : (
    var.kind == "nodes" ? aws_redshift_cluster.this[0].dns_name : null
  )
}

output "load_role_arn" {
  description = "Role that COPY uses to read the archive; null without a warehouse."
  value       = one(aws_iam_role.load[*].arn)
}
