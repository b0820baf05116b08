#!/bin/sh
# `make lint`: everything that can be checked without running Eaves.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/bin:$PWD/.tools/lint/bin:$PATH"
step() { printf '\n== %s\n' "$*"; }

step "rustfmt"
cargo fmt --all --check
(cd plugins && cargo fmt --all --check)

step "clippy, warnings denied"
cargo clippy --workspace --all-targets --locked -- -D warnings
(cd plugins && cargo clippy --workspace --target wasm32-unknown-unknown --locked -- -D warnings)

step "cargo-deny: licences, bans, sources"
cargo deny --log-level error check licenses bans sources
# The advisory database is fetched from the network: checked where it can be had.
if cargo deny --log-level error fetch db >/dev/null 2>&1; then
  step "cargo-deny: advisories"
  cargo deny --log-level error check advisories
else
  step "cargo-deny: advisories NOT checked (the advisory database cannot be fetched from here)"
fi

step "SAM template"
export AWS_DEFAULT_REGION=eu-central-1 SAM_CLI_TELEMETRY=0
sam validate --template sam-template.yaml
sam validate --lint --template sam-template.yaml
cfn-lint sam-template.yaml

step "lint passed"
