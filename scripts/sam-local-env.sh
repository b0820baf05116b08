#!/bin/sh
# Writes the file that `sam local … --env-vars` takes, for the platform that `eaves local up` runs.
#   scripts/sam-local-env.sh [data folder] > env.json     HOST=host.docker.internal for Docker Desktop
#
# SAM hands on only variables that the template names, and what reaches a platform on this machine
# (passwords, addresses instead of AWS's) is in no deployed one. So beside the built template there
# is one more, with these names: .aws-sam/build/local.yaml (or what EAVES_SAM_LOCAL says).
set -eu
host=${HOST:-127.0.0.1}
case "$host" in *[!A-Za-z0-9.-]*) host=127.0.0.1 ;; esac
data=${1:-${EAVES_DATA_DIR:-}}
if [ -z "$data" ]; then
  if [ "$(id -u)" = 0 ]; then data=/var/lib/eaves; else data=${XDG_DATA_HOME:-$HOME/.local/share}/eaves; fi
fi
[ -f "$data/platform.json" ] || { echo "no platform runs on $data: start one with 'eaves local up', or name its folder" >&2; exit 1; }
template=${EAVES_SAM_TEMPLATE:-$(cd "$(dirname "$0")/.." && pwd)/.aws-sam/build/template.yaml}
[ -f "$template" ] || { echo "there is no $template: 'sam build' first" >&2; exit 1; }
python3 - "$data/platform.json" "$host" "$template" "${EAVES_SAM_LOCAL:-$(dirname "$template")/local.yaml}" <<'PY'
import json
import os
import re
import sys

platform, host = json.load(open(sys.argv[1])), sys.argv[2]
here = lambda url: url.replace("127.0.0.1", host)

def database(role):
    return {
        "EAVES_ENVIRONMENT": "local", "EAVES_LOG": "info", "EAVES_DB_HOST": host,
        "OTEL_EXPORTER_OTLP_ENDPOINT": os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        "EAVES_DB_PORT": str(platform["database_port"]), "EAVES_DB_NAME": platform["database"],
        "EAVES_DB_USER": role, "EAVES_DB_PASSWORD": platform["passwords"][role],
        "EAVES_DB_AUTH": "password", "EAVES_DB_TLS": "disable", "EAVES_DB_CA_FILE": "",
    }

aws = {
    "AWS_ENDPOINT_URL": here(platform["aws_endpoint_url"]),
    "AWS_ENDPOINT_URL_KINESIS": here(platform["kinesis_endpoint_url"]),
    "AWS_REGION": platform["region"], "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
}
cache = {"EAVES_REDIS_URL": here(platform["redis_url"]), "EAVES_REDIS_URL_SECRET": "", "EAVES_REDIS_CLUSTER": "false"}
plugins = {
    "EAVES_REGISTRY_TABLE": platform["registry_table"], "EAVES_PLUGIN_BUCKET": platform["plugin_bucket"],
    "EAVES_PLUGIN_KEY": platform["plugin_key"], "EAVES_PLUGIN_KEY_SECRET": "",
}
functions = {
    "IngestFunction": database("eaves_ingest") | cache | plugins | aws,
    "FlushFunction": database("eaves_flush") | cache | plugins | aws | {"EAVES_FLUSH_RUN_S": "5"},
    "MaintainFunction": database("eaves_flush") | cache | aws,
    "HotProjectionFunction": database("eaves_query") | plugins | aws,
    "OlapLoadFunction": database("eaves_olap") | aws | {"EAVES_ARCHIVE_BUCKET": platform["archive_bucket"]},
    "QueryFunction": database("eaves_query") | cache | aws | {
        "EAVES_DB_PASSWORD_SECRET": "", "EAVES_REPLICA_HOST": host, "EAVES_REPLICA_PORT": str(platform["replica_port"]),
        "EAVES_REPLICA_AUTH": "password", "EAVES_STREAM": platform["stream"],
    },
    # Starts no backtests here: it would invoke itself over an address that only `eaves local` has.
    "PluginAdminFunction": database("eaves_query") | cache | plugins | aws | {
        "EAVES_DB_PASSWORD_SECRET": "", "EAVES_REPLICA_HOST": host, "EAVES_REPLICA_PORT": str(platform["replica_port"]),
        "EAVES_REPLICA_AUTH": "password",
    },
    # Knows the issuer alone, which is the platform's front.
    "AuthorizerFunction": {
        "EAVES_LOG": "info", "EAVES_ENVIRONMENT": "local",
        "OTEL_EXPORTER_OTLP_ENDPOINT": os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        "EAVES_JWT_ISSUER": "https://eaves.local", "EAVES_JWT_AUDIENCE": "eaves",
        "EAVES_JWT_KEYS_URL": here(platform["api_url"]) + "/.well-known/jwks.json",
    },
}
json.dump(functions, sys.stdout, indent=2)
print()

# Named for all functions, without a value: empty is as good as unset.
built = open(sys.argv[3]).read()
found = re.search(r"^Globals:\n(?:[ #].*\n|\n)*?( +)Variables:\n", built, re.M)
if not found:
    sys.exit(f"{sys.argv[3]} has no variables for all functions")
named = set(re.findall(r"^ +(\w+):", built[: built.index("\nResources:")], re.M))
missing = sorted({name for variables in functions.values() for name in variables} - named)
lines = "".join(f"{found[1]}  {name}: ''\n" for name in missing)
with open(sys.argv[4], "w") as local:
    local.write(built[: found.end()] + lines + built[found.end() :])
PY
