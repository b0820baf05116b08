# The Aurora variant. UNLOGGED tables are emptied by a failover there as on RDS: the epoch
# and the replay (docs/delivery.md) cover both.

resource "aws_rds_cluster_parameter_group" "this" {
  count       = local.aurora ? 1 : 0
  name_prefix = "${var.name}-"
  family      = "aurora-postgresql${local.major}"
  description = "Eaves on Aurora PostgreSQL ${local.major}"

  dynamic "parameter" {
    for_each = local.parameters
    content {
      name         = parameter.key
      value        = parameter.value.value
      apply_method = parameter.value.method
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_rds_cluster" "this" {
  # checkov:skip=CKV2_AWS_8: backed up by Aurora itself, continuously, up to 35 days
  # checkov:skip=CKV2_AWS_27: slow statements are logged; all of them would be tenants' data in the log
  count                               = local.aurora ? 1 : 0
  cluster_identifier                  = "${var.name}-aurora"
  engine                              = "aurora-postgresql"
  engine_version                      = var.engine_version
  database_name                       = "eaves"
  master_username                     = "eaves_owner"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = var.kms_key_arn
  iam_database_authentication_enabled = true

  storage_encrypted               = true
  kms_key_id                      = var.kms_key_arn
  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [var.security_group_id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this[0].name

  backup_retention_period         = var.backup_retention_days
  preferred_backup_window         = "03:00-04:00"
  preferred_maintenance_window    = "sun:04:30-sun:05:30"
  copy_tags_to_snapshot           = true
  deletion_protection             = var.deletion_protection
  skip_final_snapshot             = !var.deletion_protection
  final_snapshot_identifier       = var.deletion_protection ? "${var.name}-aurora-final" : null
  enabled_cloudwatch_logs_exports = ["postgresql"]

  dynamic "serverlessv2_scaling_configuration" {
    for_each = var.instance_class == "db.serverless" ? [var.serverless_capacity] : []
    content {
      min_capacity = serverlessv2_scaling_configuration.value.min
      max_capacity = serverlessv2_scaling_configuration.value.max
    }
  }
}

resource "aws_rds_cluster_instance" "this" {
  # The first is the writer; a failover may make it another.
  count                           = local.aurora ? 1 + var.replicas : 0
  identifier                      = "${var.name}-aurora-${count.index + 1}"
  cluster_identifier              = aws_rds_cluster.this[0].id
  engine                          = "aurora-postgresql"
  engine_version                  = var.engine_version
  instance_class                  = count.index == 0 ? var.instance_class : var.replica_instance_class
  ca_cert_identifier              = "rds-ca-rsa2048-g1"
  publicly_accessible             = false
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.kms_key_arn
  monitoring_interval             = var.monitoring_interval_s
  monitoring_role_arn             = var.monitoring_interval_s > 0 ? aws_iam_role.monitoring.arn : null
  promotion_tier                  = min(count.index, 15)
}
