# Eaves' stateful half: network, stores, alarms. The functions are sam-template.yaml's; they
# read what is made here from the parameters under /eaves/<environment>.

locals {
  name          = "eaves-${var.environment}"
  recovery_days = var.protected ? 30 : 0
  alarms        = jsondecode(file("${path.module}/../ops/alarms.json")).alarms
}

module "keys" {
  source = "./modules/keys"
  name   = local.name
}

module "network" {
  source             = "./modules/network"
  name               = local.name
  cidr               = var.cidr
  zones              = var.zones
  operator_host      = var.operator_host
  kms_key_arn        = module.keys.arn
  log_retention_days = var.log_retention_days
}

# Nothing else in the network is for people: without it, nobody gets to a database.
module "operators" {
  count             = var.operator_host ? 1 : 0
  source            = "./modules/operators"
  name              = local.name
  subnet_id         = module.network.subnet_ids[0]
  security_group_id = module.network.security_groups.operators
  kms_key_arn       = module.keys.arn
}

module "database" {
  source                 = "./modules/database"
  name                   = local.name
  engine                 = var.database.engine
  engine_version         = var.database.engine_version
  instance_class         = var.database.instance_class
  replica_instance_class = var.database.replica_instance_class
  replicas               = var.database.replicas
  multi_az               = var.database.multi_az
  storage_gib            = var.database.storage_gib
  max_storage_gib        = var.database.max_storage_gib
  iops                   = var.database.iops
  serverless_capacity    = var.database.serverless_capacity
  backup_retention_days  = var.database.backup_retention_days
  monitoring_interval_s  = var.database.monitoring_interval_s
  deletion_protection    = var.protected
  subnet_ids             = module.network.subnet_ids
  security_group_id      = module.network.security_groups.database
  kms_key_arn            = module.keys.arn
}

# Aurora copies no automated backups to other regions: see docs/disaster-recovery.md.
module "backup_copy" {
  count                 = var.copy_region == null || module.database.is_aurora ? 0 : 1
  source                = "./modules/backup_copy"
  providers             = { aws = aws.copy }
  name                  = local.name
  primary_arn           = module.database.primary_arn
  backup_retention_days = var.database.backup_retention_days
}

module "proxy" {
  source            = "./modules/proxy"
  name              = local.name
  is_aurora         = module.database.is_aurora
  target_identifier = module.database.primary_identifier
  subnet_ids        = module.network.subnet_ids
  security_group_id = module.network.security_groups.proxy
  kms_key_arn       = module.keys.arn
  recovery_days     = local.recovery_days
}

module "cache" {
  source             = "./modules/cache"
  name               = local.name
  node_type          = var.cache.node_type
  shards             = var.cache.shards
  replicas_per_shard = var.cache.replicas_per_shard
  subnet_ids         = module.network.subnet_ids
  security_group_id  = module.network.security_groups.cache
  kms_key_arn        = module.keys.arn
  recovery_days      = local.recovery_days
  log_retention_days = var.log_retention_days
}

module "stream" {
  source          = "./modules/stream"
  name            = "${local.name}-telemetry"
  shards          = var.stream.shards
  retention_hours = var.stream.retention_hours
  kms_key_arn     = module.keys.arn
}

module "tables" {
  source              = "./modules/tables"
  name                = local.name
  kms_key_arn         = module.keys.arn
  deletion_protection = var.protected
}

module "buckets" {
  source      = "./modules/buckets"
  name        = local.name
  kms_key_arn = module.keys.arn
}

module "warehouse" {
  source             = "./modules/warehouse"
  name               = local.name
  kind               = var.warehouse.kind
  base_rpu           = var.warehouse.base_rpu
  max_rpu            = var.warehouse.max_rpu
  node_type          = var.warehouse.node_type
  nodes              = var.warehouse.nodes
  subnet_ids         = module.network.subnet_ids
  security_group_id  = module.network.security_groups.warehouse
  kms_key_arn        = module.keys.arn
  archive_bucket_arn = module.buckets.arns["archive"]
  final_snapshot     = var.protected
}

module "messaging" {
  source      = "./modules/messaging"
  name        = local.name
  kms_key_arn = module.keys.arn
  subscribers = var.alarm_emails
}

module "budget" {
  source      = "./modules/budget"
  name        = local.name
  environment = var.environment
  monthly_usd = var.budget_usd
  topic_arn   = module.messaging.topic_arns["ticket"]
}

module "observability" {
  source         = "./modules/observability"
  name           = local.name
  alarms         = local.alarms
  topic_arns     = module.messaging.topic_arns
  runbook_url    = var.runbook_url
  dashboard_file = "${path.module}/../ops/dashboards/cloudwatch.json"
  # Aurora has other metrics than RDS for storage, lag and slots, and a failover may make any of
  # its instances the writer.
  instances = {
    databases   = module.database.instance_identifiers
    rds         = module.database.is_aurora ? [] : module.database.instance_identifiers
    rds_primary = module.database.is_aurora ? [] : [module.database.primary_identifier]
    replicas    = module.database.replica_identifiers
    aurora      = module.database.is_aurora ? module.database.instance_identifiers : []
    cache_nodes = local.cache_nodes
  }
  values = {
    environment  = var.environment
    region       = var.region
    stream       = module.stream.name
    proxy        = module.proxy.name
    database     = module.database.instance_identifiers[0]
    dead_letters = module.messaging.schedule_dlq_name
  }
}

locals {
  # As ElastiCache names them; known before they are made.
  cache_nodes = flatten([
    for shard in range(var.cache.shards) : [
      for node in range(1 + var.cache.replicas_per_shard) :
      var.cache.shards > 1 ? format("%s-cache-%04d-%03d", local.name, shard + 1, node + 1) : format("%s-cache-%03d", local.name, node + 1)
    ]
  ])
}

# Signs compiled plugins: whoever has it can make the functions load native code.
data "aws_secretsmanager_random_password" "plugin_key" {
  password_length = 64
}

resource "aws_secretsmanager_secret" "plugin_key" {
  # checkov:skip=CKV2_AWS_57: a new key needs every plugin compiled again: ops/runbooks/rotate-secrets.md
  name                    = "${local.name}/plugins/signing-key"
  description             = "Signs compiled plugins: 64 hex digits under `key`"
  kms_key_id              = module.keys.arn
  recovery_window_in_days = local.recovery_days
}

resource "aws_secretsmanager_secret_version" "plugin_key" {
  secret_id     = aws_secretsmanager_secret.plugin_key.id
  secret_string = jsonencode({ key = sha256(data.aws_secretsmanager_random_password.plugin_key.random_password) })

  lifecycle {
    # Made once: another key would make every compiled plugin unreadable.
    ignore_changes = [secret_string]
  }
}
