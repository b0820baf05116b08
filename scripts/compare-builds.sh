#!/bin/sh
# Builds a function twice as it is deployed, from copies of the sources in different folders, and
# compares the binaries: are they the same, byte for byte? Takes two release builds' time, and what
# `scripts/setup.sh build` installs.
#   EAVES_ARCH=arm64|x86_64 scripts/compare-builds.sh [maintain]
set -eu
function=${1:-maintain}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for copy in one another; do
  mkdir -p "$work/$copy"
  git -C "$root" archive HEAD | tar -x -C "$work/$copy"
  "$work/$copy/scripts/build-function.sh" "$function" "$work/$copy/out" >/dev/null
  sha256sum "$work/$copy/out/bootstrap" | cut -d' ' -f1 | tee "$work/$copy.digest"
  rm -rf "$work/$copy/target"
done
if cmp -s "$work/one.digest" "$work/another.digest"; then echo "the same"; exit 0; fi
# What is read most easily of the difference: texts that only one of them has.
for copy in one another; do strings -n 8 "$work/$copy/out/bootstrap" | sort -u >"$work/$copy.strings"; done
diff "$work/one.strings" "$work/another.strings" | head -20 || true
echo "not the same" >&2
exit 1
