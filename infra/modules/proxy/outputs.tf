output "name" {
  description = "Name of the proxy."
  value       = aws_db_proxy.this.name
}

output "host" {
  description = "Where the proxy leads to the primary."
  value       = aws_db_proxy.this.endpoint
}

output "reader_host" {
  description = "Where the proxy leads to readers; null unless Aurora."
  value       = one(aws_db_proxy_endpoint.reader[*].endpoint)
}

output "role_secret_arns" {
  description = "ARN of each role's secret, by role."
  value       = { for role, secret in aws_secretsmanager_secret.role : role => secret.arn }
}

output "connect_arn" {
  description = "What `rds-db:connect` is granted on, up to the role's name."
  value       = "arn:${data.aws_partition.current.partition}:rds-db:${local.region}:${local.account}:dbuser:${local.resource_id}"
}
