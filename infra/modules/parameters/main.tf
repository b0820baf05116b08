# What sam-template.yaml reads. Names and addresses only: no secret is among them.

resource "aws_ssm_parameter" "text" {
  # checkov:skip=CKV2_AWS_34: names and addresses; CloudFormation reads them as text
  for_each = var.texts
  name     = "${var.prefix}/${each.key}"
  type     = "String"
  value    = each.value
}

resource "aws_ssm_parameter" "list" {
  # checkov:skip=CKV2_AWS_34: names and addresses; CloudFormation reads them as text
  for_each = var.lists
  name     = "${var.prefix}/${each.key}"
  type     = "StringList"
  value    = join(",", each.value)
}
