#!/bin/sh
# Writes a CycloneDX list of what is linked into each function and the command line to
# target/sbom/, one file each.
set -eu
cd "$(dirname "$0")/.."
version=0.5.9
tool=.tools/sbom/bin/cargo-cyclonedx
if ! [ -x "$tool" ] || ! "$tool" cyclonedx --version | grep -q "$version"; then
  echo "sbom: cargo-cyclonedx $version (compiled once, some minutes)" >&2
  cargo install --quiet --locked --root .tools/sbom --version "$version" cargo-cyclonedx
fi
mkdir -p target/sbom
for manifest in functions/*/Cargo.toml crates/cli/Cargo.toml; do
  folder=$(dirname "$manifest")
  name=$(basename "$folder")
  "$tool" cyclonedx --manifest-path "$manifest" --format json --spec-version 1.5 --override-filename "eaves-$name-sbom" >/dev/null 2>&1
  mv "$folder/eaves-$name-sbom.json" target/sbom/
done
# The tool writes beside every member of the workspace.
find crates functions tests benches -name 'eaves-*-sbom.json' -delete
for file in target/sbom/*.json; do
  echo "$file: $(python3 -c 'import json,sys; print(len(json.load(open(sys.argv[1]))["components"]))' "$file") components"
done
