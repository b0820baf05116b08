#!/bin/sh
# Fetches AWS's certificate authorities of RDS for the layer RdsTrustStore: before `sam build`.
#   scripts/fetch-rds-ca.sh [file]     a file that was fetched by other means instead
set -eu
[ $# -eq 0 ] || set -- "$(realpath -- "$1")"
cd "$(dirname "$0")/.."
out=infra/trust-store/rds-global-bundle.pem
new=$(mktemp)
trap 'rm -f "$new"' EXIT
if [ $# -gt 0 ]; then
  cat -- "$1" >"$new"
else
  curl --fail --silent --show-error --proto '=https' --tlsv1.2 \
    -o "$new" https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
fi
# Anything but certificates would end every read of a replica: each one is read, not only the first.
count=$(grep -c 'BEGIN CERTIFICATE' "$new") || { echo "no certificates came back" >&2; exit 1; }
read_count=$(openssl crl2pkcs7 -nocrl -certfile "$new" 2>/dev/null | openssl pkcs7 -print_certs -noout 2>/dev/null | grep -c '^subject') || read_count=0
if [ "$read_count" -ne "$count" ]; then
  echo "$count certificates came back, and only $read_count can be read" >&2
  exit 1
fi
chmod 644 "$new"
mv "$new" "$out"
echo "$out: $count certificates"
