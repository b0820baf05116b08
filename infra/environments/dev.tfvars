# One of everything, small, and free to be thrown away.
environment = "dev"
region      = "eu-central-1"
zones       = 2
protected   = false

# Nobody gets to the database otherwise, and migrations have to.
operator_host = true

database = {
  engine_version         = "15.14"
  instance_class         = "db.t4g.large"
  replica_instance_class = "db.t4g.large"
  replicas               = 0
  multi_az               = false
  storage_gib            = 100
  max_storage_gib        = 200
  backup_retention_days  = 1
  monitoring_interval_s  = 0
}

cache     = { node_type = "cache.t4g.small", shards = 1, replicas_per_shard = 0 }
stream    = { shards = 1, retention_hours = 24 }
warehouse = { kind = "none" }

log_retention_days = 7
budget_usd         = 500
jwt                = { issuer = "https://auth.dev.example.com", audience = "eaves" }
