#!/bin/sh
# Gives each database role of an environment a new password: in PostgreSQL, and in the secret
# that RDS Proxy reads. Needs the variables of docs/configuration.md for the database's owner
# (EAVES_DB_HOST: the primary itself), `eaves` and the AWS CLI.
#
#   scripts/role-passwords.sh prod [role…]
set -eu
env=${1:?which environment: dev, staging or prod}
shift
[ $# -gt 0 ] || set -- eaves_admin eaves_flush eaves_ingest eaves_olap eaves_query
# All secrets are there before any password is another: what is half done locks functions out.
# (Running it again mends that.)
for role in "$@"; do
  aws secretsmanager describe-secret --secret-id "eaves-$env/database/$role" --query Name --output text >/dev/null
done
secret=$(mktemp)
trap 'rm -f "$secret"' EXIT
chmod 600 "$secret"
for role in "$@"; do
  password=$(openssl rand -hex 24)
  # Never as an argument: others may see those.
  printf '%s' "$password" | eaves db password "$role"
  printf '{"username":"%s","password":"%s"}' "$role" "$password" >"$secret"
  aws secretsmanager put-secret-value --secret-id "eaves-$env/database/$role" --secret-string "file://$secret" >/dev/null
  echo "$role: new password"
done
