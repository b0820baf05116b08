# RDS Proxy: functions sign in with IAM tokens, the proxy with the roles' passwords. The
# passwords are set by scripts/role-passwords.sh (docs/deploy.md) and known to nobody else.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_secretsmanager_secret" "role" {
  # checkov:skip=CKV2_AWS_57: rotated by scripts/role-passwords.sh, role by role: the password is set in PostgreSQL, too
  for_each                = var.roles
  name                    = "${var.name}/database/${each.key}"
  description             = "Name and password of the database role ${each.key}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_days
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["rds.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "proxy" {
  name               = "${var.name}-proxy"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "secrets" {
  statement {
    sid       = "ReadTheRolesSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for secret in aws_secretsmanager_secret.role : secret.arn]
  }
  statement {
    sid       = "DecryptThem"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${data.aws_region.current.name}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "secrets" {
  name   = "read-secrets"
  role   = aws_iam_role.proxy.id
  policy = data.aws_iam_policy_document.secrets.json
}

resource "aws_db_proxy" "this" {
  name                   = var.name
  engine_family          = "POSTGRESQL"
  role_arn               = aws_iam_role.proxy.arn
  vpc_subnet_ids         = var.subnet_ids
  vpc_security_group_ids = [var.security_group_id]
  require_tls            = true
  debug_logging          = false
  idle_client_timeout    = 1800

  dynamic "auth" {
    for_each = aws_secretsmanager_secret.role
    content {
      auth_scheme = "SECRETS"
      iam_auth    = "REQUIRED"
      secret_arn  = auth.value.arn
      description = auth.key
    }
  }
}

resource "aws_db_proxy_default_target_group" "this" {
  db_proxy_name = aws_db_proxy.this.name
  connection_pool_config {
    max_connections_percent      = var.max_connections_percent
    max_idle_connections_percent = 40
    connection_borrow_timeout    = 10
    # Nothing is filtered out of pinning: no statement of ours pins (docs/rds-proxy.md), and
    # the alarm on pinned sessions must see it if one day one does.
    session_pinning_filters = []
  }
}

resource "aws_db_proxy_target" "this" {
  db_proxy_name          = aws_db_proxy.this.name
  target_group_name      = aws_db_proxy_default_target_group.this.name
  db_instance_identifier = var.is_aurora ? null : var.target_identifier
  db_cluster_identifier  = var.is_aurora ? var.target_identifier : null
}

# Readers are behind the proxy on Aurora only.
resource "aws_db_proxy_endpoint" "reader" {
  count                  = var.is_aurora ? 1 : 0
  db_proxy_name          = aws_db_proxy.this.name
  db_proxy_endpoint_name = "${var.name}-reader"
  vpc_subnet_ids         = var.subnet_ids
  vpc_security_group_ids = [var.security_group_id]
  target_role            = "READ_ONLY"
}

locals {
  # arn:aws:rds:region:account:db-proxy:prx-… names the resource that tokens are for.
  resource_id = element(split(":", aws_db_proxy.this.arn), 6)
  region      = data.aws_region.current.name
  account     = data.aws_caller_identity.current.account_id
}
