output "url_secret_arn" {
  description = "Secret with the URL."
  value       = aws_secretsmanager_secret.url.arn
}

output "is_cluster" {
  description = "Whether keys are spread over shards."
  value       = local.cluster
}

output "node_identifiers" {
  description = "Ids of the nodes, as CloudWatch names them."
  value       = aws_elasticache_replication_group.this.member_clusters
}
