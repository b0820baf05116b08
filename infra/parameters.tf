# Read by sam-template.yaml as {{resolve:ssm:/eaves/<environment>/…}}; scripts/check_settings.py
# compares the names.
module "parameters" {
  source = "./modules/parameters"
  prefix = "/eaves/${var.environment}"

  lists = {
    "network/subnet-ids"         = module.network.subnet_ids
    "network/security-group-ids" = [module.network.security_groups.functions]
  }

  texts = {
    "keys/data-arn"             = module.keys.arn
    "database/host"             = module.proxy.host
    "database/port"             = "5432"
    "database/name"             = "eaves"
    "database/connect-arn"      = module.proxy.connect_arn
    "database/query-secret-arn" = module.proxy.role_secret_arns["eaves_query"]
    # Without a replica of its own reads go to the proxy: the same server, measured as one.
    "database/replica-host" = coalesce(module.database.replica_host, module.proxy.reader_host, module.proxy.host)
    # Replicas of RDS are behind no proxy, and a role that may sign in with a token there could
    # no longer sign in with the proxy's password on the primary.
    "database/replica-auth"      = module.database.replica_host == null ? "iam" : "password"
    "cache/url-secret-arn"       = module.cache.url_secret_arn
    "cache/cluster"              = tostring(module.cache.is_cluster)
    "stream/name"                = module.stream.name
    "stream/arn"                 = module.stream.arn
    "registry/table-name"        = module.tables.registry_name
    "registry/table-arn"         = module.tables.registry_arn
    "plugins/bucket-name"        = module.buckets.names["plugins"]
    "plugins/bucket-arn"         = module.buckets.arns["plugins"]
    "plugins/key-secret-arn"     = aws_secretsmanager_secret.plugin_key.arn
    "failed-records/bucket-arn"  = module.buckets.arns["failed"]
    "archive/bucket-name"        = module.buckets.names["archive"]
    "archive/bucket-arn"         = module.buckets.arns["archive"]
    "schedules/dead-letters-arn" = module.messaging.schedule_dlq_arn
    # Alarms on what only the template has: the API and the event source mapping.
    "alarms/page-topic-arn" = module.messaging.topic_arns["page"]
    "alarms/runbook-url"    = var.runbook_url
    "jwt/issuer"            = var.jwt.issuer
    "jwt/audience"          = var.jwt.audience
    # Read only by the function that verifies tokens in place of API Gateway.
    "jwt/keys-url" = coalesce(var.jwt.keys_url, "${trimsuffix(var.jwt.issuer, "/")}/.well-known/jwks.json")
  }
}
