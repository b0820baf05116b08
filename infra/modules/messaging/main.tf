data "aws_caller_identity" "current" {}

# What a schedule could not deliver. Looked at by hand: see ops/runbooks/dead-letters.md.
resource "aws_sqs_queue" "schedules" {
  name                      = "${var.name}-schedule-dead-letters"
  message_retention_seconds = 1209600
  kms_master_key_id         = var.kms_key_arn
}

data "aws_iam_policy_document" "schedules" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
    resources = [aws_sqs_queue.schedules.arn]
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
}

resource "aws_sqs_queue_policy" "schedules" {
  queue_url = aws_sqs_queue.schedules.id
  policy    = data.aws_iam_policy_document.schedules.json
}

# Alarms that somebody should look at now, and those that can wait for the morning.
resource "aws_sns_topic" "alarms" {
  for_each          = toset(["page", "ticket"])
  name              = "${var.name}-${each.key}"
  kms_master_key_id = var.kms_key_arn
}

data "aws_iam_policy_document" "alarms" {
  for_each = aws_sns_topic.alarms

  statement {
    sid       = "AlarmsAndBudgetsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [each.value.arn]
    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  for_each = aws_sns_topic.alarms
  arn      = each.value.arn
  policy   = data.aws_iam_policy_document.alarms[each.key].json
}

resource "aws_sns_topic_subscription" "page" {
  for_each  = var.subscribers
  topic_arn = aws_sns_topic.alarms["page"].arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_sns_topic_subscription" "ticket" {
  for_each  = var.subscribers
  topic_arn = aws_sns_topic.alarms["ticket"].arn
  protocol  = "email"
  endpoint  = each.key
}
