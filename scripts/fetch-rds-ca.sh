#!/bin/sh
# Fetches AWS's certificate authorities of RDS for the layer RdsTrustStore: before `sam build`.
set -eu
cd "$(dirname "$0")/.."
out=infra/trust-store/rds-global-bundle.pem
curl --fail --silent --show-error --proto '=https' --tlsv1.2 \
  -o "$out.new" https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
# Anything but certificates would end every read of a replica.
count=$(grep -c 'BEGIN CERTIFICATE' "$out.new") || { rm -f "$out.new"; echo "no certificates came back" >&2; exit 1; }
openssl x509 -noout -in "$out.new" || { rm -f "$out.new"; exit 1; }
mv "$out.new" "$out"
echo "$out: $count certificates"
