# Automated backups with their log, in another region: point-in-time recovery there is some
# minutes behind.

resource "aws_kms_key" "copy" {
  # checkov:skip=CKV2_AWS_64: the default policy, by which IAM of this account decides
  description             = "Copies of the backups of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_db_instance_automated_backups_replication" "this" {
  source_db_instance_arn = var.primary_arn
  retention_period       = var.backup_retention_days
  kms_key_id             = aws_kms_key.copy.arn
}
