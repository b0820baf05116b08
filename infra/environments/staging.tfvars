# As production is, with everything a size or two smaller: what fails here fails there.
environment = "staging"
region      = "eu-central-1"
zones       = 3
protected   = true

# As in production.
operator_host = true

database = {
  engine_version         = "15.14"
  instance_class         = "db.r6g.large"
  replica_instance_class = "db.r6g.large"
  replicas               = 1
  multi_az               = true
  storage_gib            = 400
  max_storage_gib        = 1000
  backup_retention_days  = 7
  monitoring_interval_s  = 60
}

cache     = { node_type = "cache.r6g.large", shards = 1, replicas_per_shard = 1 }
stream    = { shards = 4, retention_hours = 72 }
warehouse = { kind = "serverless", base_rpu = 8, max_rpu = 16 }

log_retention_days = 30
budget_usd         = 2500
jwt                = { issuer = "https://auth.staging.example.com", audience = "eaves" }
