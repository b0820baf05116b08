# Production on Aurora Serverless v2, as the guide of the seeds sizes it: 8 to 64 capacity units.
environment = "prod"
region      = "eu-central-1"
zones       = 3
protected   = true

# As in prod.tfvars.
operator_host = true

database = {
  engine                 = "aurora-postgresql"
  engine_version         = "15.14"
  instance_class         = "db.serverless"
  replica_instance_class = "db.serverless"
  replicas               = 2
  multi_az               = true
  storage_gib            = 1000
  max_storage_gib        = 10000
  serverless_capacity    = { min = 8, max = 64 }
  backup_retention_days  = 35
  monitoring_interval_s  = 15
}

cache     = { node_type = "cache.r6g.xlarge", shards = 3, replicas_per_shard = 1 }
stream    = { shards = 16, retention_hours = 168 }
warehouse = { kind = "nodes", node_type = "ra3.4xlarge", nodes = 3 }

log_retention_days = 90
budget_usd         = 30000
jwt                = { issuer = "https://auth.example.com", audience = "eaves" }
