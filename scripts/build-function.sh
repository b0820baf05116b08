#!/bin/sh
# Builds a function for Lambda's image and puts its `bootstrap` into a folder. Called by
# `sam build` through the Makefile: SAM's own way of calling cargo-lambda takes no flags.
#   EAVES_ARCH=arm64|x86_64 scripts/build-function.sh <function> <folder>
set -eu
cd "$(dirname "$0")/.."
function=$1
out=$2
case "${EAVES_ARCH:-arm64}" in
  arm64) arch=--arm64 ;;
  x86_64) arch=--x86-64 ;;
  *) echo "EAVES_ARCH=$EAVES_ARCH is not arm64 or x86_64" >&2; exit 1 ;;
esac
# Paths of this machine stay out of the binary, so that builds can be compared.
RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/eaves --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export RUSTFLAGS
# OpenSSL writes into the binary when it was built, by which compiler and in which folder: a day that is always the
# same, and a folder that leads to this checkout's own, for one checkout at a time.
export SOURCE_DATE_EPOCH=315532800
fixed=/tmp/eaves-build
mkdir -m 700 "$fixed" 2>/dev/null || true
owner=$(stat -c %u "$fixed" 2>/dev/null || stat -f %u "$fixed" 2>/dev/null || true)
if [ "$owner" = "$(id -u)" ]; then
  if command -v flock >/dev/null 2>&1; then
    exec 9>"$fixed/lock"
    flock 9
  fi
  mkdir -p target
  ln -sfn "$PWD/target" "$fixed/target"
  export CARGO_TARGET_DIR="$fixed/target" CARGO_ZIGBUILD_CACHE_DIR="$fixed/zig"
else
  echo "$fixed cannot be had or is somebody else's: what is built cannot be compared with builds elsewhere" >&2
fi
# With line tables a function is larger than the 250 MiB that Lambda takes; names stay in backtraces.
export CARGO_PROFILE_RELEASE_DEBUG=none
# OpenSSL is built along: the image has another one than the machine that builds.
cargo lambda build --release --locked --bin "eaves-$function" --features vendored-tls "$arch"
mkdir -p "$out"
cp "target/lambda/eaves-$function/bootstrap" "$out/bootstrap"
