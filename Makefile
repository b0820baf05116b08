# Eaves: what people type. Every target sets up what it needs first.
.DEFAULT_GOAL := help
SHELL := /bin/sh
CARGO ?= cargo
BIN := target/debug

.PHONY: build-IngestFunction build-FlushFunction build-MaintainFunction build-HotProjectionFunction build-OlapLoadFunction build-QueryFunction build-PluginAdminFunction build-AuthorizerFunction help setup build plugins demo test drill lint bench bench-extism sbom fmt clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing (PostgreSQL, Redis, the AWS emulator, the wasm target)
	@scripts/setup.sh

build: setup ## the functions, the command line and the example plugins
	@$(CARGO) build --workspace --bins --locked
	@$(MAKE) --no-print-directory plugins

plugins: ## the standard plugin and the examples, to target/plugins/
	@plugins/build.sh

demo: build ## start the platform, play a fleet into Kinesis, ask queries (KEEP=1: keep running)
	@$(BIN)/eaves demo $(if $(KEEP),--keep) $(DEMO_ARGS)

test: build ## set up and pass all tests
	@$(CARGO) test --workspace --locked -- --quiet
	@cd plugins && $(CARGO) test --workspace --locked --quiet
	@scripts/test-python.sh
	@scripts/test-api.sh

drill: build ## break the platform under load a hundred times; writes target/drill.json
	@$(CARGO) test --workspace --locked --test drill -- --full $(DRILL_ARGS)

lint: ## formatting, clippy, licences, Terraform, the SAM template, settings, permissions, alarms
	@scripts/setup.sh lint
	@scripts/lint.sh

bench: setup ## measure (ONLY=name,name for some; KEEP=folder keeps the million entities); writes target/bench.json and benches/RESULTS.md
	@$(CARGO) build --release --workspace --bins --locked
	@$(MAKE) --no-print-directory plugins
	@$(MAKE) --no-print-directory bench-extism
	@target/release/eaves-bench $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep $(KEEP)) $(if $(PERCENT),--percent $(PERCENT))

# The same rules under Extism, with the wasmtime that it brings: built here and nowhere else.
bench-extism: setup
	@cd benches/extism && $(CARGO) build --release --quiet --locked -p extism-rules --target wasm32-unknown-unknown
	@cd benches/extism && $(CARGO) build --release --quiet --locked -p eaves-bench-extism

sbom: ## a CycloneDX list of what is linked in, to target/sbom/
	@python3 scripts/sbom.py

fmt: ## format the Rust code
	@$(CARGO) fmt --all

# What `sam build` calls, with the folder to fill in ARTIFACTS_DIR.
build-IngestFunction:
	@scripts/build-function.sh ingest "$(ARTIFACTS_DIR)"
build-FlushFunction:
	@scripts/build-function.sh flush "$(ARTIFACTS_DIR)"
build-MaintainFunction:
	@scripts/build-function.sh maintain "$(ARTIFACTS_DIR)"
build-HotProjectionFunction:
	@scripts/build-function.sh hot-projection "$(ARTIFACTS_DIR)"
build-OlapLoadFunction:
	@scripts/build-function.sh olap-load "$(ARTIFACTS_DIR)"
build-QueryFunction:
	@scripts/build-function.sh query "$(ARTIFACTS_DIR)"
build-PluginAdminFunction:
	@scripts/build-function.sh plugin-admin "$(ARTIFACTS_DIR)"
build-AuthorizerFunction:
	@scripts/build-function.sh authorizer "$(ARTIFACTS_DIR)"

clean: ## remove build output and local data
	@$(CARGO) clean
	@rm -rf plugins/target benches/extism/target fuzz/target .eaves
