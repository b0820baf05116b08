#!/bin/sh
# Fuzzes the running API by its own descriptions (schemathesis): no 5xx, and every answer is one that
# /openapi.json or, for plugins, /v1/plugins/openapi.json describes. Starts a platform of its own in a temporary folder.
#
#   scripts/test-api.sh                      a bounded look with a fixed seed (under 90 s); needs what `make build` makes
#   EAVES_API_EXAMPLES=500 scripts/test-api.sh   the long one; EAVES_API_SEED=… another seed
#   scripts/test-api.sh --include-path /v1/tenant   further arguments go to `schemathesis run`
#
# The tools go to .tools/api once; afterwards no network is needed.
set -eu
cd "$(dirname "$0")/.."
version=4.32.5
hypothesis=6.170.17
venv="$PWD/.tools/api"
stamp="$venv/.eaves-installed"
wanted="$venv: schemathesis $version, hypothesis $hypothesis"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
  echo "test-api: installing schemathesis $version"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check "schemathesis==$version" "hypothesis==$hypothesis"
  printf '%s' "$wanted" >"$stamp"
fi
eaves="${EAVES_BIN:-$PWD/target/debug}/eaves"
data=$(mktemp -d)
platform=
stop() {
  [ -z "$platform" ] || { kill "$platform" 2>/dev/null || true; wait "$platform" 2>/dev/null || true; }
  rm -rf "$data"
}
trap stop EXIT INT TERM
chmod 711 "$data"
"$eaves" local up --data "$data/platform" --port 0 >"$data/log" 2>&1 &
platform=$!
for _ in $(seq 240); do
  [ -e "$data/platform/platform.json" ] && break
  kill -0 "$platform" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
  sleep 0.25
done
at="--data $data/platform"
# shellcheck disable=SC2086
"$eaves" tenant create fuzz $at >/dev/null
# shellcheck disable=SC2086
token=$("$eaves" token --tenant fuzz --ttl 1d $at \
  --scope 'telemetry:write query:read plugins:write settings:write admin')
api=$(sed -n 's/.*"api_url": *"\([^"]*\)".*/\1/p' "$data/platform/platform.json")
# What the description's examples name is there, so that more than 404 is met.
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
curl -sS -o /dev/null --fail -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$api/v1/telemetry" \
  -d "[{\"entity\": \"pump-7\", \"type\": \"pump\", \"observed_at\": \"$now\", \"values\": {\"temperature\": 72.5, \"status\": \"online\"}}]"
for _ in $(seq 120); do
  curl -sS -o /dev/null --fail -H "Authorization: Bearer $token" "$api/v1/entities/pump-7" 2>/dev/null && break
  sleep 0.25
done
component="${EAVES_BIN:-$PWD/target/debug}/../plugins/standard.wasm"
for version in 1.0.0 1.1.0; do
  curl -sS -o /dev/null --fail -H "Authorization: Bearer $token" "$api/v1/plugins" \
    -F name=limits -F "version=$version" -F "wasm=@$component"
done
config=$PWD/scripts/test-api.toml
# It keeps notes in the folder that it runs in.
cd "$data"
# Arguments are words, none of which has a space in it.
# shellcheck disable=SC2086
fuzz() {
  EAVES_API_TOKEN=$1 "$venv/bin/schemathesis" --config-file "$config" run "$api$2" \
    --max-examples "${EAVES_API_EXAMPLES:-6}" --seed "${EAVES_API_SEED:-20260301}" $3 || {
    status=$?
    grep -h '"ERROR"' "$data"/platform/logs/*query*.log "$data"/platform/logs/*plugin-admin*.log 2>/dev/null \
      | tail -20 >&2 || true
    exit "$status"
  }
}
fuzz "$token" /openapi.json "$*"
fuzz "$token" /v1/plugins/openapi.json "$*"
if [ $# -eq 0 ]; then
  # What is the operators', again with a token that lets them in.
  # shellcheck disable=SC2086
  operator=$("$eaves" token --operator fuzz@example.org --ttl 1d $at --scope admin)
  fuzz "$operator" /openapi.json '--include-path-regex ^/v1/admin/'
fi
