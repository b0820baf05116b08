# 200 M entities, 10,000 values/s sustained, 15,000/s in bursts. The seeds name two sizings:
# db.r6g.8xlarge with three replicas (its README) and db.r6g.4xlarge with two (its solution).
# This is the smaller one; docs/cost.md prices both. Aurora instead: prod-aurora.tfvars.
environment = "prod"
region      = "eu-central-1"
copy_region = "eu-west-1"
zones       = 3
protected   = true

# Runbooks ask the database, and whoever has been paged should not wait for an apply. The host holds no
# secret and may read none: without a session that IAM allows, and a secret, it leads nowhere.
operator_host = true

database = {
  engine_version         = "15.14"
  instance_class         = "db.r6g.4xlarge"
  replica_instance_class = "db.r6g.4xlarge"
  replicas               = 2
  multi_az               = true
  storage_gib            = 1000
  max_storage_gib        = 10000
  iops                   = 12000
  backup_retention_days  = 35
  monitoring_interval_s  = 15
}

cache     = { node_type = "cache.r6g.xlarge", shards = 3, replicas_per_shard = 1 }
stream    = { shards = 16, retention_hours = 168 }
warehouse = { kind = "nodes", node_type = "ra3.4xlarge", nodes = 3 }

log_retention_days = 90
budget_usd         = 30000
jwt                = { issuer = "https://auth.example.com", audience = "eaves" }
