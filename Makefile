# Eaves: what people type. Every target sets up what it needs first.
.DEFAULT_GOAL := help
SHELL := /bin/sh
CARGO ?= cargo
BIN := target/debug

.PHONY: help setup build plugins demo test drill lint bench bench-extism fmt clean

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

drill: build ## break the platform under load a hundred times; writes target/drill.json
	@$(CARGO) test --workspace --locked --test drill -- --full $(DRILL_ARGS)

lint: ## formatting, clippy, licences and sources, the SAM template
	@scripts/setup.sh lint
	@scripts/lint.sh

bench: setup bench-extism ## measure (ONLY=name for one); writes target/bench.json and benches/RESULTS.md
	@$(CARGO) build --release --workspace --bins --locked
	@$(MAKE) --no-print-directory plugins
	@target/release/eaves-bench $(if $(ONLY),--only $(ONLY))

# The same rules under Extism, with the wasmtime that it brings: built here and nowhere else.
bench-extism: setup
	@cd benches/extism && $(CARGO) build --release --quiet --locked -p extism-rules --target wasm32-unknown-unknown
	@cd benches/extism && $(CARGO) build --release --quiet --locked -p eaves-bench-extism

fmt: ## format the Rust code
	@$(CARGO) fmt --all

clean: ## remove build output and local data
	@$(CARGO) clean
	@rm -rf plugins/target benches/extism/target fuzz/target .eaves
