#!/bin/sh
# Builds a function twice, from copies of the sources in different folders, and compares the
# binaries: are they the same, byte for byte? Takes two release builds' time.
#   scripts/compare-builds.sh [maintain]
set -eu
function=${1:-maintain}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo_home=${CARGO_HOME:-$HOME/.cargo}
for copy in one another; do
  mkdir -p "$work/$copy"
  git -C "$root" archive HEAD | tar -x -C "$work/$copy"
  (cd "$work/$copy" && SOURCE_DATE_EPOCH="$(git -C "$root" log -1 --format=%ct)" CARGO_INCREMENTAL=0 \
    RUSTFLAGS="--remap-path-prefix=$work/$copy=/eaves --remap-path-prefix=$cargo_home=/cargo" \
    cargo build --quiet --release --locked --bin "eaves-$function")
  sha256sum "$work/$copy/target/release/eaves-$function" | cut -d' ' -f1 | tee "$work/$copy.digest"
done
if cmp -s "$work/one.digest" "$work/another.digest"; then echo "the same"; else echo "not the same" >&2; exit 1; fi
