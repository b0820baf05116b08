locals {
  aurora = var.engine == "aurora-postgresql"
  major  = split(".", var.engine_version)[0]

  # What Eaves needs of PostgreSQL, on either engine.
  parameters = {
    "rds.force_ssl"           = { value = "1", method = "immediate" }
    "rds.logical_replication" = { value = "1", method = "pending-reboot" }
    # pg_partman is an extension without a library to load here: neither engine takes its background
    # worker, and what that would do the function maintain does.
    "shared_preload_libraries"            = { value = "pg_stat_statements,pg_cron", method = "pending-reboot" }
    "cron.database_name"                  = { value = "eaves", method = "pending-reboot" }
    "pg_stat_statements.track"            = { value = "all", method = "immediate" }
    "max_replication_slots"               = { value = "10", method = "pending-reboot" }
    "max_wal_senders"                     = { value = "10", method = "pending-reboot" }
    "log_lock_waits"                      = { value = "1", method = "immediate" }
    "log_min_duration_statement"          = { value = "1000", method = "immediate" }
    "idle_in_transaction_session_timeout" = { value = "60000", method = "immediate" }
  }

  # Aurora has its own storage: no slots' limit, no standby to be considerate of.
  rds_parameters = {
    "max_slot_wal_keep_size"      = { value = tostring(var.slot_max_wal_mib), method = "immediate" }
    "hot_standby_feedback"        = { value = "1", method = "immediate" }
    "max_standby_streaming_delay" = { value = "30000", method = "immediate" }
    "wal_compression"             = { value = "1", method = "immediate" }
    "checkpoint_timeout"          = { value = "900", method = "immediate" }
  }

  logs = ["postgresql", "upgrade"]
}

resource "aws_db_subnet_group" "this" {
  name       = "${var.name}-database"
  subnet_ids = var.subnet_ids
}

resource "aws_iam_role" "monitoring" {
  name               = "${var.name}-rds-monitoring"
  assume_role_policy = data.aws_iam_policy_document.monitoring.json
}

data "aws_partition" "current" {}

data "aws_iam_policy_document" "monitoring" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
