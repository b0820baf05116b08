data "aws_caller_identity" "current" {}

locals {
  buckets = {
    # Components and compiled artefacts of tenants' plugins.
    plugins = "plugins"
    # What Lambda gave up on, with its payload (docs/delivery.md).
    failed = "failed-records"
    # History as Parquet: what the warehouse loads; and partitions past their retention, put there by
    # scripts/archive-partition.sh.
    archive = "archive"
    # Who asked for what in the buckets above.
    logs = "access-logs"
  }
}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18: aws_s3_bucket_logging.this; not for the bucket of the logs itself. checkov does not follow for_each
  # checkov:skip=CKV_AWS_21: aws_s3_bucket_versioning.this; checkov does not follow for_each
  # checkov:skip=CKV_AWS_145: aws_s3_bucket_server_side_encryption_configuration.this; logs cannot have a key of ours
  # checkov:skip=CKV2_AWS_6: aws_s3_bucket_public_access_block.this; checkov does not follow for_each
  # checkov:skip=CKV2_AWS_61: aws_s3_bucket_lifecycle_configuration.this; checkov does not follow for_each
  # checkov:skip=CKV2_AWS_62: nothing waits for objects
  # checkov:skip=CKV_AWS_144: what a lost region costs, and how it is come back from, is in docs/disaster-recovery.md
  for_each = local.buckets
  bucket   = "${var.name}-${each.value}-${data.aws_caller_identity.current.account_id}"
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = aws_s3_bucket.this
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      # The service that writes access logs cannot use a customer's key.
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each      = { for key, bucket in aws_s3_bucket.this : key => bucket if key != "logs" }
  bucket        = each.value.id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "${each.key}/"
}

data "aws_iam_policy_document" "this" {
  for_each = aws_s3_bucket.this

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = each.key == "logs" ? ["write"] : []
    content {
      sid       = "AccessLogs"
      actions   = ["s3:PutObject"]
      resources = ["${each.value.arn}/*"]
      principals {
        type        = "Service"
        identifiers = ["logging.s3.amazonaws.com"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [data.aws_caller_identity.current.account_id]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each   = aws_s3_bucket.this
  bucket     = each.value.id
  policy     = data.aws_iam_policy_document.this[each.key].json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each   = aws_s3_bucket.this
  bucket     = each.value.id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "unfinished"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
  }

  dynamic "rule" {
    for_each = each.key == "archive" ? [var.archive_days] : []
    content {
      id     = "colder"
      status = "Enabled"
      filter {
        prefix = "partitions/"
      }
      transition {
        days          = rule.value.infrequent
        storage_class = "STANDARD_IA"
      }
      transition {
        days          = rule.value.glacier
        storage_class = "GLACIER_IR"
      }
      transition {
        days          = rule.value.deep
        storage_class = "DEEP_ARCHIVE"
      }
    }
  }

  # Components that were put for an upload and never taken (docs/plugins.md, "Upload").
  dynamic "rule" {
    for_each = each.key == "plugins" ? [1] : []
    content {
      id     = "abandoned-uploads"
      status = "Enabled"
      filter {
        prefix = "uploads/"
      }
      expiration {
        days = rule.value
      }
      noncurrent_version_expiration {
        noncurrent_days = 1
      }
    }
  }

  dynamic "rule" {
    for_each = each.key == "logs" ? [400] : []
    content {
      id     = "old-logs"
      status = "Enabled"
      filter {}
      expiration {
        days = rule.value
      }
    }
  }
}
