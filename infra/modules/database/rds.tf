# RDS PostgreSQL: a primary with a standby in another zone, and read replicas.

resource "aws_db_parameter_group" "this" {
  count       = local.aurora ? 0 : 1
  name_prefix = "${var.name}-"
  family      = "postgres${local.major}"
  description = "Eaves on PostgreSQL ${local.major}"

  dynamic "parameter" {
    for_each = merge(local.parameters, local.rds_parameters)
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

resource "aws_db_instance" "primary" {
  count                               = local.aurora ? 0 : 1
  identifier                          = "${var.name}-primary"
  engine                              = "postgres"
  engine_version                      = var.engine_version
  instance_class                      = var.instance_class
  db_name                             = "eaves"
  username                            = "eaves_owner"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = var.kms_key_arn
  iam_database_authentication_enabled = true
  ca_cert_identifier                  = "rds-ca-rsa2048-g1"

  allocated_storage     = var.storage_gib
  max_allocated_storage = var.max_storage_gib
  storage_type          = "gp3"
  iops                  = var.iops
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  multi_az               = var.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [var.security_group_id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this[0].name

  backup_retention_period   = var.backup_retention_days
  backup_window             = "03:00-04:00"
  maintenance_window        = "sun:04:30-sun:05:30"
  copy_tags_to_snapshot     = true
  deletion_protection       = var.deletion_protection
  delete_automated_backups  = !var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = var.deletion_protection ? "${var.name}-primary-final" : null

  auto_minor_version_upgrade            = true
  allow_major_version_upgrade           = false
  apply_immediately                     = false
  enabled_cloudwatch_logs_exports       = local.logs
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.kms_key_arn
  performance_insights_retention_period = 7
  monitoring_interval                   = var.monitoring_interval_s
  monitoring_role_arn                   = var.monitoring_interval_s > 0 ? aws_iam_role.monitoring.arn : null

  lifecycle {
    # Storage grows by itself.
    ignore_changes = [allocated_storage]
  }
}

resource "aws_db_instance" "replica" {
  # checkov:skip=CKV_AWS_157: the primary has the standby; a replica is replaced by another
  count                               = local.aurora ? 0 : var.replicas
  identifier                          = "${var.name}-replica-${count.index + 1}"
  replicate_source_db                 = aws_db_instance.primary[0].identifier
  instance_class                      = var.replica_instance_class
  iam_database_authentication_enabled = true
  ca_cert_identifier                  = "rds-ca-rsa2048-g1"
  storage_encrypted                   = true
  kms_key_id                          = var.kms_key_arn
  max_allocated_storage               = var.max_storage_gib
  multi_az                            = false
  vpc_security_group_ids              = [var.security_group_id]
  publicly_accessible                 = false
  parameter_group_name                = aws_db_parameter_group.this[0].name
  # A replica that may be promoted brings its own backups.
  backup_retention_period               = var.backup_retention_days
  copy_tags_to_snapshot                 = true
  deletion_protection                   = var.deletion_protection
  skip_final_snapshot                   = true
  auto_minor_version_upgrade            = true
  enabled_cloudwatch_logs_exports       = local.logs
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.kms_key_arn
  performance_insights_retention_period = 7
  monitoring_interval                   = var.monitoring_interval_s
  monitoring_role_arn                   = var.monitoring_interval_s > 0 ? aws_iam_role.monitoring.arn : null
}
