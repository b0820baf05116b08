# What an environment comes to, without an account: `terraform test -var-file=environments/prod.tfvars`.
# The provider's schema is real, its answers are made up.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_secretsmanager_random_password" {
    defaults = { random_password = "0123456789abcdef0123456789abcdef" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_resource "aws_db_proxy" {
    defaults = { arn = "arn:aws:rds:eu-central-1:123456789012:db-proxy:prx-0123456789abcdef0" }
  }
  mock_resource "aws_db_proxy_default_target_group" {
    defaults = { name = "default" }
  }
  mock_resource "aws_db_instance" {
    defaults = { arn = "arn:aws:rds:eu-central-1:123456789012:db:mocked" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:mocked" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:mocked" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mocked" }
  }
  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "ami-0123456789abcdef0" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:mocked", url = "https://sqs.example/mocked" }
  }
}

mock_provider "aws" {
  alias = "copy"
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
}

# Everything is made, from nothing, and what is computed only then can be read.
run "applies" {
  assert {
    condition     = module.proxy.connect_arn == "arn:aws:rds-db:eu-central-1:123456789012:dbuser:prx-0123456789abcdef0"
    error_message = "tokens would be for another resource: ${module.proxy.connect_arn}"
  }

  assert {
    condition     = length(module.network.subnet_ids) == var.zones
    error_message = "a subnet for each zone"
  }

  # COPY goes through the network: without this way the warehouse cannot read a file.
  assert {
    condition = contains(module.network.ways_out, {
      from = module.network.security_groups.warehouse, to = module.network.prefix_lists.s3, port = 443
    })
    error_message = "the warehouse does not get to S3: ${jsonencode(module.network.ways_out)}"
  }

  assert {
    condition = alltrue([
      for to, port in { database = 5432, warehouse = 5439, cache = 6379 } : contains(module.network.ways_out, {
        from = module.network.security_groups.operators, to = module.network.security_groups[to], port = port
      })
    ])
    error_message = "operators do not get to what holds data: ${jsonencode(module.network.ways_out)}"
  }

  assert {
    condition = (
      (length(module.operators) == 1) == var.operator_host &&
      toset(module.network.session_endpoints) == toset(var.operator_host ? ["ec2messages", "ssm", "ssmmessages"] : [])
    )
    error_message = "a host for operators, and the endpoints of its sessions, where it is asked for and nowhere else"
  }

  assert {
    condition     = (module.warehouse.admin_secret_arn == null) == (var.warehouse.kind == "none")
    error_message = "a warehouse brings its owner's secret, nothing brings none"
  }

  assert {
    condition     = length(module.database.instance_identifiers) == 1 + var.database.replicas
    error_message = "a primary and the replicas asked for"
  }

  assert {
    condition     = (var.database.engine == "postgres" && var.database.replicas > 0) == (module.database.replica_host != null)
    error_message = "replicas of RDS are reached directly, those of Aurora through the proxy"
  }

  assert {
    condition     = module.cache.is_cluster == (var.cache.shards > 1)
    error_message = "more than one shard is a cluster"
  }

  assert {
    condition     = (module.warehouse.load_role_arn == null) == (var.warehouse.kind == "none")
    error_message = "a warehouse brings its role, nothing brings none"
  }

  assert {
    condition     = contains(module.parameters.names, "/eaves/${var.environment}/stream/arn")
    error_message = "the SAM template reads the stream's ARN"
  }

  assert {
    condition     = !var.protected || var.database.backup_retention_days >= 7
    error_message = "what is protected can be brought back for a week"
  }

  assert {
    condition = alltrue([
      for name, alarm in local.alarms : contains(
        module.observability.alarm_names,
        join("-", compact([local.name, name, lookup({
          databases   = module.database.instance_identifiers[0]
          rds         = module.database.instance_identifiers[0]
          rds_primary = module.database.primary_identifier
          aurora      = module.database.instance_identifiers[0]
          replicas    = try(module.database.replica_identifiers[0], "")
          cache_nodes = local.cache_nodes[0]
        }, coalesce(try(alarm.over, null), "none"), "")]))
        ) || contains(
        module.database.is_aurora ? ["rds", "rds_primary", "replicas"] : var.database.replicas == 0 ? ["aurora", "replicas"] : ["aurora"],
        coalesce(try(alarm.over, null), "none")
      )
    ])
    error_message = "every alarm is made at least once (those of replicas and of Aurora only where there are some)"
  }

  assert {
    condition = alltrue([
      for metric in ["database-storage-", "replica-lag-", "replica-stopped-", "slot-lag-"] : !anytrue([
        for made in module.observability.alarm_names :
        startswith(made, "${local.name}-${module.database.is_aurora ? "" : "aurora-"}${metric}")
      ])
    ])
    error_message = "RDS is watched by the metrics of RDS, Aurora by its own: ${join(", ", module.observability.alarm_names)}"
  }

  # What Eaves needs of either engine: the same list, in the group of its kind.
  assert {
    condition = alltrue([
      for name in ["rds.force_ssl", "rds.logical_replication", "shared_preload_libraries", "cron.database_name", "pg_stat_statements.track"] :
      contains(module.database.parameter_names, name)
    ])
    error_message = "the database's parameter group lacks one: ${join(", ", module.database.parameter_names)}"
  }

  assert {
    condition     = module.database.is_aurora == (module.proxy.reader_host != null)
    error_message = "Aurora's readers are behind the proxy, those of RDS are not"
  }
}
