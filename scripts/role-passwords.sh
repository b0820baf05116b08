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
for role in "$@"; do
  password=$(openssl rand -hex 24)
  # Never as an argument: others may see those.
  printf '%s' "$password" | eaves db password "$role"
  secret=$(mktemp)
  chmod 600 "$secret"
  trap 'rm -f "$secret"' EXIT
  printf '{"username":"%s","password":"%s"}' "$role" "$password" >"$secret"
  aws secretsmanager put-secret-value --secret-id "eaves-$env/database/$role" --secret-string "file://$secret" >/dev/null
  rm -f "$secret"
  echo "$role: new password"
done
