#!/bin/sh
# `make lint`: everything that can be checked without running Eaves. What is compiled, and what
# is only read, are checked side by side: the second half has its say when it is through.
#   scripts/lint.sh [code|deployment]     one half only
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/cargo/bin:$PWD/.tools/lint/bin:$PATH"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
began=$(date +%s)
step() { printf '\n== %s (at %s s)\n' "$*" "$(($(date +%s) - began))"; }

code() {
  step "rustfmt"
  cargo fmt --all --check
  (cd plugins && cargo fmt --all --check)

  step "features"
  python3 scripts/check_features.py

  step "shell scripts"
  git ls-files -z '*.sh' | xargs -0 shellcheck --severity=warning

  step "cargo-deny: licences, bans, sources"
  cargo deny --log-level error check licenses bans sources
  # The advisory database comes from the network, or from a folder with a checkout of it.
  if [ -n "${EAVES_ADVISORY_DB:-}" ]; then
    step "cargo-audit: advisories of $EAVES_ADVISORY_DB"
    cargo audit --no-fetch --stale --deny warnings --db "$EAVES_ADVISORY_DB"
  elif cargo deny --log-level error fetch db >/dev/null 2>&1; then
    step "cargo-deny and cargo-audit: advisories"
    cargo deny --log-level error check advisories
    cargo audit --deny warnings
  else
    step "cargo-deny and cargo-audit: advisories NOT checked (the RustSec database cannot be fetched from here; set EAVES_ADVISORY_DB to a checkout)"
  fi

  step "clippy, warnings denied"
  cargo clippy --workspace --all-targets --locked -- -D warnings
  (cd plugins && cargo clippy --workspace --target wasm32-unknown-unknown --locked -- -D warnings &&
    cargo clippy --workspace --all-targets --locked -- -D warnings)
}

deployment() {
  step "Terraform: references"
  .tools/iac/bin/python scripts/check_terraform.py
  if command -v terraform >/dev/null 2>&1; then
    # Settings of whoever runs this must not decide where the provider comes from.
    export TF_IN_AUTOMATION=1 TF_CLI_CONFIG_FILE=/dev/null TF_DATA_DIR="$scratch/terraform"
    step "Terraform: format"
    terraform fmt -check -diff -recursive infra 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
    # The provider comes from the registry, or from a mirror on this machine.
    plugins=''
    for folder in "${EAVES_TF_PLUGINS:-}" /usr/local/share/terraform/plugins /opt/*; do
      if [ -d "$folder/registry.terraform.io/hashicorp/aws" ]; then plugins=$folder; break; fi
    done
    # Never another provider than that of .terraform.lock.hcl, and nothing written there.
    if terraform -chdir=infra init -backend=false -input=false -lockfile=readonly ${plugins:+"-plugin-dir=$plugins"} >"$scratch/log" 2>&1; then
      step "Terraform: validate, and plan each environment with made-up answers"
      terraform -chdir=infra validate -no-color 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
      for environment in dev staging prod prod-aurora; do
        terraform -chdir=infra test -no-color -var-file="environments/$environment.tfvars" >"$scratch/log" 2>&1 ||
          { cat "$scratch/log"; exit 1; }
        echo "$environment: $(tail -1 "$scratch/log")"
      done
    else
      echo "NOT validated: the AWS provider cannot be had from here (set EAVES_TF_PLUGINS to a mirror)"
    fi
  else
    step "Terraform: NOT formatted or validated (terraform is not installed)"
  fi

  step "settings, delivery, permissions, alarms, commands, routes, dashboards, costs, statements"
  .tools/iac/bin/python scripts/check_settings.py
  .tools/iac/bin/python scripts/check_delivery.py
  .tools/iac/bin/python scripts/check_iam.py
  .tools/iac/bin/python scripts/check_alarms.py
  .tools/lint/bin/python scripts/check_commands.py
  .tools/lint/bin/python scripts/check_sam_local.py
  .tools/lint/bin/python scripts/check_routes.py
  .tools/iac/bin/python scripts/dashboards.py --check
  .tools/iac/bin/python scripts/estimate_cost.py --check
  .tools/iac/bin/python scripts/check_statements.py
  .tools/iac/bin/python scripts/check_redshift.py

  step "checkov"
  # Both kinds in one run, which takes them from one folder.
  mkdir "$scratch/checkov"
  cp -r infra ops sam-template.yaml "$scratch/checkov/"
  (checkov="$PWD/.tools/iac/bin/checkov" && cd "$scratch/checkov" &&
    "$checkov" --directory . --framework terraform cloudformation --skip-download --quiet --compact)

  step "SAM template"
  export AWS_DEFAULT_REGION=eu-central-1 SAM_CLI_TELEMETRY=0
  sam validate --template sam-template.yaml 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
  sam validate --lint --template sam-template.yaml
  cfn-lint sam-template.yaml
  step "the deployment's half passed"
}

case "${1:-}" in
  code) code ;;
  deployment) deployment ;;
  '')
    # Both in the background: a function after which comes `||` would go on after a failure.
    (deployment) >"$scratch/deployment" 2>&1 &
    deployment=$!
    (code) &
    code=$!
    failed=''
    wait "$code" || failed=code
    wait "$deployment" || failed="$failed deployment"
    cat "$scratch/deployment"
    [ -z "$failed" ] || { echo "lint: failed: $failed" >&2; exit 1; } ;;
  *) echo "lint.sh: neither code nor deployment: $1" >&2; exit 2 ;;
esac
step "lint passed"
