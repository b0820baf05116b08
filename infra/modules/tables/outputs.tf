output "registry_name" {
  description = "Name of the plugin registry's table."
  value       = aws_dynamodb_table.registry.name
}

output "registry_arn" {
  description = "ARN of the plugin registry's table."
  value       = aws_dynamodb_table.registry.arn
}
