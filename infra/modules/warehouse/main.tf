# Redshift: as a serverless workgroup, or as a cluster of nodes. Its tables are in
# schemas/redshift; it loads Parquet files from the archive bucket with COPY.

locals {
  serverless = var.kind == "serverless" ? 1 : 0
  nodes      = var.kind == "nodes" ? 1 : 0
  any        = var.kind == "none" ? 0 : 1
}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["redshift.amazonaws.com", "redshift-serverless.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "load" {
  count              = local.any
  name               = "${var.name}-warehouse-load"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "load" {
  statement {
    sid       = "ReadTheArchive"
    actions   = ["s3:GetObject"]
    resources = ["${var.archive_bucket_arn}/*"]
  }
  statement {
    sid       = "ListTheArchive"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.archive_bucket_arn]
  }
  statement {
    sid       = "DecryptTheArchive"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }
}

resource "aws_iam_role_policy" "load" {
  count  = local.any
  name   = "load"
  role   = aws_iam_role.load[0].id
  policy = data.aws_iam_policy_document.load.json
}

resource "aws_redshiftserverless_namespace" "this" {
  count                            = local.serverless
  namespace_name                   = "${var.name}-warehouse"
  db_name                          = "analytics"
  admin_username                   = "eaves_owner"
  manage_admin_password            = true
  admin_password_secret_kms_key_id = var.kms_key_arn
  kms_key_id                       = var.kms_key_arn
  iam_roles                        = [aws_iam_role.load[0].arn]
  default_iam_role_arn             = aws_iam_role.load[0].arn
  log_exports                      = ["useractivitylog", "userlog", "connectionlog"]
}

resource "aws_redshiftserverless_workgroup" "this" {
  count                = local.serverless
  namespace_name       = aws_redshiftserverless_namespace.this[0].namespace_name
  workgroup_name       = "${var.name}-warehouse"
  base_capacity        = var.base_rpu
  max_capacity         = var.max_rpu
  enhanced_vpc_routing = true
  publicly_accessible  = false
  subnet_ids           = var.subnet_ids
  security_group_ids   = [var.security_group_id]

  config_parameter {
    parameter_key   = "require_ssl"
    parameter_value = "true"
  }
}

resource "aws_redshift_subnet_group" "this" {
  count      = local.nodes
  name       = "${var.name}-warehouse"
  subnet_ids = var.subnet_ids
}

resource "aws_redshift_parameter_group" "this" {
  count       = local.nodes
  name        = "${var.name}-warehouse"
  family      = "redshift-1.0"
  description = "Encrypted connections only; activity is logged"

  parameter {
    name  = "require_ssl"
    value = "true"
  }

  parameter {
    name  = "enable_user_activity_logging"
    value = "true"
  }
}

resource "aws_redshift_cluster" "this" {
  count                               = local.nodes
  cluster_identifier                  = "${var.name}-warehouse"
  database_name                       = "analytics"
  master_username                     = "eaves_owner"
  manage_master_password              = true
  master_password_secret_kms_key_id   = var.kms_key_arn
  node_type                           = var.node_type
  cluster_type                        = var.nodes > 1 ? "multi-node" : "single-node"
  number_of_nodes                     = var.nodes
  encrypted                           = true
  kms_key_id                          = var.kms_key_arn
  enhanced_vpc_routing                = true
  publicly_accessible                 = false
  cluster_subnet_group_name           = aws_redshift_subnet_group.this[0].name
  cluster_parameter_group_name        = aws_redshift_parameter_group.this[0].name
  vpc_security_group_ids              = [var.security_group_id]
  iam_roles                           = [aws_iam_role.load[0].arn]
  default_iam_role_arn                = aws_iam_role.load[0].arn
  automated_snapshot_retention_period = var.snapshot_days
  preferred_maintenance_window        = "sun:06:30-sun:07:30"
  allow_version_upgrade               = true
  skip_final_snapshot                 = !var.final_snapshot
  final_snapshot_identifier           = var.final_snapshot ? "${var.name}-warehouse-final" : null
}

resource "aws_redshift_logging" "this" {
  count                = local.nodes
  cluster_identifier   = aws_redshift_cluster.this[0].id
  log_destination_type = "cloudwatch"
  log_exports          = ["connectionlog", "useractivitylog", "userlog"]
}
