# Redis: encrypted, with a password, in as many shards as wanted. What it holds can be read
# from the database again, so there are no backups.

locals {
  cluster = var.shards > 1
}

resource "aws_elasticache_subnet_group" "this" {
  name       = "${var.name}-cache"
  subnet_ids = var.subnet_ids
}

resource "aws_elasticache_parameter_group" "this" {
  name        = "${var.name}-cache"
  family      = "redis7"
  description = "Entries go when memory is short, the least used first"

  parameter {
    name  = "maxmemory-policy"
    value = "allkeys-lfu"
  }

  dynamic "parameter" {
    for_each = local.cluster ? ["yes"] : []
    content {
      name  = "cluster-enabled"
      value = parameter.value
    }
  }
}

# An ephemeral value would be nicer; the provider's 5.x line has none for passwords.
data "aws_secretsmanager_random_password" "auth" {
  password_length     = 48
  exclude_punctuation = true
}

resource "aws_elasticache_replication_group" "this" {
  # checkov:skip=CKV2_AWS_50: on wherever there are replicas; dev has none
  replication_group_id       = "${var.name}-cache"
  description                = "Eaves: latest values of hot entities"
  engine                     = "redis"
  engine_version             = var.engine_version
  node_type                  = var.node_type
  num_node_groups            = var.shards
  replicas_per_node_group    = var.replicas_per_shard
  parameter_group_name       = aws_elasticache_parameter_group.this.name
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [var.security_group_id]
  port                       = 6379
  automatic_failover_enabled = var.replicas_per_shard > 0
  multi_az_enabled           = var.replicas_per_shard > 0
  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  auth_token                 = data.aws_secretsmanager_random_password.auth.random_password
  auth_token_update_strategy = "ROTATE"
  maintenance_window         = "sun:05:30-sun:06:30"
  auto_minor_version_upgrade = true
  apply_immediately          = false

  log_delivery_configuration {
    destination      = aws_cloudwatch_log_group.slow.name
    destination_type = "cloudwatch-logs"
    log_format       = "json"
    log_type         = "slow-log"
  }

  lifecycle {
    # Made once. The data source makes another at every run.
    ignore_changes = [auth_token]
  }
}

resource "aws_cloudwatch_log_group" "slow" {
  name              = "/${var.name}/cache/slow"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

locals {
  host = local.cluster ? aws_elasticache_replication_group.this.configuration_endpoint_address : (
    aws_elasticache_replication_group.this.primary_endpoint_address
  )
}

resource "aws_secretsmanager_secret" "url" {
  # checkov:skip=CKV2_AWS_57: rotated together with the auth token: ops/runbooks/rotate-secrets.md
  name                    = "${var.name}/cache/url"
  description             = "The cache's rediss:// URL with its password"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_days
}

resource "aws_secretsmanager_secret_version" "url" {
  secret_id     = aws_secretsmanager_secret.url.id
  secret_string = jsonencode({ url = "rediss://:${data.aws_secretsmanager_random_password.auth.random_password}@${local.host}:6379" })

  lifecycle {
    # The password of the replication group is the first one, too.
    ignore_changes = [secret_string]
  }
}
