# Private subnets only: there is no internet gateway and no NAT. What the functions call is
# reached through endpoints.

data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394: subnets take the first two or three; one that AWS adds sorts behind them
  state = "available"
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

data "aws_region" "current" {}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = { Name = var.name }
}

# Closed: everything has a group of its own.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-default-closed" }
}

resource "aws_subnet" "private" {
  count             = var.zones
  vpc_id            = aws_vpc.this.id
  cidr_block        = cidrsubnet(var.cidr, 4, count.index)
  availability_zone = data.aws_availability_zones.available.names[count.index]
  tags              = { Name = "${var.name}-private-${count.index + 1}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  count          = var.zones
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

# Who may talk to whom: functions to the proxy, the replicas, the cache and the endpoints;
# the proxy to the database; operators to all that holds data, for migrations and runbooks.

resource "aws_security_group" "functions" {
  # checkov:skip=CKV2_AWS_5: attached in another module, or by the SAM template
  name        = "${var.name}-functions"
  description = "Lambda functions"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-functions" }
}

resource "aws_security_group" "proxy" {
  # checkov:skip=CKV2_AWS_5: attached in another module, or by the SAM template
  name        = "${var.name}-proxy"
  description = "RDS Proxy"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-proxy" }
}

resource "aws_security_group" "database" {
  # checkov:skip=CKV2_AWS_5: attached in another module, or by the SAM template
  name        = "${var.name}-database"
  description = "PostgreSQL primary and replicas"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-database" }
}

resource "aws_security_group" "cache" {
  # checkov:skip=CKV2_AWS_5: attached in another module, or by the SAM template
  name        = "${var.name}-cache"
  description = "Redis"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-cache" }
}

resource "aws_security_group" "warehouse" {
  # checkov:skip=CKV2_AWS_5: attached in another module, or by the SAM template
  name        = "${var.name}-warehouse"
  description = "Redshift"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-warehouse" }
}

# Whoever is in it reaches what holds data, and still has to sign in there: the host of
# modules/operators, or hosts of yours.
resource "aws_security_group" "operators" {
  # checkov:skip=CKV2_AWS_5: attached in another module, where there is a host
  name        = "${var.name}-operators"
  description = "Hosts that people work from"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-operators" }
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Endpoints of AWS services"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-endpoints" }
}

locals {
  # From, to, port. Each becomes a way out of the one and a way into the other.
  paths = {
    functions_to_proxy     = { from = aws_security_group.functions.id, to = aws_security_group.proxy.id, port = 5432, why = "SQL through the proxy" }
    functions_to_database  = { from = aws_security_group.functions.id, to = aws_security_group.database.id, port = 5432, why = "Reads of replicas" }
    functions_to_cache     = { from = aws_security_group.functions.id, to = aws_security_group.cache.id, port = 6379, why = "The cache" }
    functions_to_endpoints = { from = aws_security_group.functions.id, to = aws_security_group.endpoints.id, port = 443, why = "AWS services" }
    functions_to_warehouse = { from = aws_security_group.functions.id, to = aws_security_group.warehouse.id, port = 5439, why = "Loads into the warehouse" }
    operators_to_database  = { from = aws_security_group.operators.id, to = aws_security_group.database.id, port = 5432, why = "Migrations and runbooks" }
    operators_to_cache     = { from = aws_security_group.operators.id, to = aws_security_group.cache.id, port = 6379, why = "Runbooks" }
    operators_to_endpoints = { from = aws_security_group.operators.id, to = aws_security_group.endpoints.id, port = 443, why = "Sessions and AWS services" }
    operators_to_warehouse = { from = aws_security_group.operators.id, to = aws_security_group.warehouse.id, port = 5439, why = "The warehouse's schema and questions" }
    proxy_to_database      = { from = aws_security_group.proxy.id, to = aws_security_group.database.id, port = 5432, why = "Pooled connections" }
  }
}

resource "aws_vpc_security_group_ingress_rule" "paths" {
  for_each                     = local.paths
  security_group_id            = each.value.to
  referenced_security_group_id = each.value.from
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.value.why
}

resource "aws_vpc_security_group_egress_rule" "paths" {
  for_each                     = local.paths
  security_group_id            = each.value.from
  referenced_security_group_id = each.value.to
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.value.why
}

# Gateway endpoints are reached by prefix list, not by group.
resource "aws_vpc_endpoint" "gateway" {
  for_each          = toset(["dynamodb", "s3"])
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  tags              = { Name = "${var.name}-${each.key}" }
}

locals {
  # Who goes out to which of them. The warehouse's COPY goes through the network, too
  # (enhanced_vpc_routing); packages of the operators' host are in S3.
  gateways = {
    functions_to_dynamodb = { from = aws_security_group.functions.id, to = "dynamodb" }
    functions_to_s3       = { from = aws_security_group.functions.id, to = "s3" }
    operators_to_s3       = { from = aws_security_group.operators.id, to = "s3" }
    warehouse_to_s3       = { from = aws_security_group.warehouse.id, to = "s3" }
  }
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each          = local.gateways
  security_group_id = each.value.from
  prefix_list_id    = aws_vpc_endpoint.gateway[each.value.to].prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  description       = "The gateway endpoint of ${each.value.to}"
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = var.endpoints
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = { Name = "${var.name}-${each.key}" }
}

# In one zone, that of the operators' host: an endpoint costs by the zone.
resource "aws_vpc_endpoint" "session" {
  for_each            = var.operator_host ? var.session_endpoints : []
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [aws_subnet.private[0].id]
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = { Name = "${var.name}-${each.key}" }
}

resource "aws_flow_log" "this" {
  vpc_id               = aws_vpc.this.id
  traffic_type         = "REJECT"
  log_destination_type = "cloud-watch-logs"
  log_destination      = aws_cloudwatch_log_group.flow.arn
  iam_role_arn         = aws_iam_role.flow.arn
}

resource "aws_cloudwatch_log_group" "flow" {
  name              = "/${var.name}/network/rejected"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

data "aws_iam_policy_document" "flow_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "flow" {
  name               = "${var.name}-flow-logs"
  assume_role_policy = data.aws_iam_policy_document.flow_assume.json
}

data "aws_iam_policy_document" "flow" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.flow.arn}:*"]
  }
}

resource "aws_iam_role_policy" "flow" {
  name   = "write"
  role   = aws_iam_role.flow.id
  policy = data.aws_iam_policy_document.flow.json
}
