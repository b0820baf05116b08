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

step "features"
python3 scripts/check_features.py

step "shell scripts"
git ls-files -z '*.sh' | xargs -0 shellcheck --severity=warning

step "cargo-deny: licences, bans, sources"
cargo deny --log-level error check licenses bans sources
# The advisory database is fetched from the network: checked where it can be had.
if cargo deny --log-level error fetch db >/dev/null 2>&1; then
  step "cargo-deny: advisories"
  cargo deny --log-level error check advisories
else
  step "cargo-deny: advisories NOT checked (the advisory database cannot be fetched from here)"
fi

step "Terraform: references"
.tools/iac/bin/python scripts/check_terraform.py
if command -v terraform >/dev/null 2>&1; then
  # Settings of whoever runs this must not decide where the provider comes from.
  export TF_IN_AUTOMATION=1 TF_CLI_CONFIG_FILE=/dev/null
  step "Terraform: format"
  terraform fmt -check -diff -recursive infra
  # The provider comes from the registry, or from a mirror on this machine.
  plugins=''
  for folder in "${EAVES_TF_PLUGINS:-}" /usr/local/share/terraform/plugins /opt/*; do
    if [ -d "$folder/registry.terraform.io/hashicorp/aws" ]; then plugins=$folder; break; fi
  done
  data=$(mktemp -d)
  trap 'rm -rf "$data"' EXIT
  export TF_DATA_DIR="$data"
  if terraform -chdir=infra init -backend=false -input=false -lockfile=readonly ${plugins:+"-plugin-dir=$plugins"} >"$data/log" 2>&1 ||
     terraform -chdir=infra init -backend=false -input=false ${plugins:+"-plugin-dir=$plugins"} >"$data/log" 2>&1; then
    step "Terraform: validate, and plan each environment with made-up answers"
    terraform -chdir=infra validate -no-color
    for environment in dev staging prod prod-aurora; do
      terraform -chdir=infra test -no-color -var-file="environments/$environment.tfvars" >"$data/log" 2>&1 ||
        { cat "$data/log"; exit 1; }
      echo "$environment: $(tail -1 "$data/log")"
    done
  else
    echo "NOT validated: the AWS provider cannot be had from here (set EAVES_TF_PLUGINS to a mirror)"
  fi
else
  step "Terraform: NOT formatted or validated (terraform is not installed)"
fi

step "settings, permissions, alarms, dashboards, costs, statements"
.tools/iac/bin/python scripts/check_settings.py
.tools/iac/bin/python scripts/check_iam.py
.tools/iac/bin/python scripts/check_alarms.py
.tools/iac/bin/python scripts/dashboards.py --check
.tools/iac/bin/python scripts/estimate_cost.py --check
.tools/iac/bin/python scripts/check_statements.py
.tools/iac/bin/python scripts/check_redshift.py

step "checkov"
.tools/iac/bin/checkov --directory infra --framework terraform --skip-download --quiet --compact
.tools/iac/bin/checkov --file sam-template.yaml --framework cloudformation --skip-download --quiet --compact

step "SAM template"
export AWS_DEFAULT_REGION=eu-central-1 SAM_CLI_TELEMETRY=0
sam validate --template sam-template.yaml
sam validate --lint --template sam-template.yaml
cfn-lint sam-template.yaml

step "lint passed"
