#!/bin/sh
# Builds the standard plugin, the examples (and the plugins of the tests) into target/plugins/<name>.wasm.
# Works from any folder; does next to nothing if nothing changed.
set -eu

plugins=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$plugins")
out=$root/target/plugins
wasm=$plugins/target/wasm32-unknown-unknown/release
tool=$root/target/debug/eaves-plugin-tool

if ! rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown; then
	if [ ! -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
		echo "plugins: the wasm32-unknown-unknown target is missing: run make setup" >&2
		exit 1
	fi
fi

# CARGO_TARGET_DIR would put both workspaces into one folder, so it is set for each.
(cd "$plugins" && CARGO_TARGET_DIR="$plugins/target" cargo build --quiet --release --locked --target wasm32-unknown-unknown)
# --workspace, not -p: with one package's own choice of features wasmtime would be built twice.
(cd "$root" && CARGO_TARGET_DIR="$root/target" cargo build --quiet --locked --workspace --bin eaves-plugin-tool)

mkdir -p "$out"
for manifest in "$plugins"/standard/Cargo.toml "$plugins"/examples/*/Cargo.toml "$plugins"/tests/*/Cargo.toml; do
	name=$(basename "$(dirname "$manifest")")
	core=$wasm/$(echo "$name" | tr - _).wasm
	component=$out/$name.wasm
	if [ ! -e "$component" ] || [ "$core" -nt "$component" ] || [ "$tool" -nt "$component" ]; then
		"$tool" componentize "$core" "$component"
		touch "$component"
		echo "plugins: $name.wasm ($(wc -c <"$component" | tr -d ' ') bytes)"
	fi
done
