#!/bin/sh
# Checks and tests the Python client. The tools go to .tools/python once; afterwards no network is
# needed. Arguments go to pytest:
#
#   scripts/test-python.sh                    all tests; needs what `make build` makes (or EAVES_BIN)
#   scripts/test-python.sh -m 'not platform'  those that need no platform
set -eu
cd "$(dirname "$0")/.."
venv="$PWD/.tools/python"
bin="$venv/bin"
stamp="$venv/.eaves-installed"
# Its programs name the folder they were installed in: a moved or copied one is made anew.
wanted="$venv: $(cksum <clients/python/pyproject.toml)"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! "$bin/python" -c '' 2>/dev/null; then
  echo "test-python: installing the client and its test tools"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$bin/python" -m pip install -q --disable-pip-version-check --editable 'clients/python[test]'
  printf '%s' "$wanted" >"$stamp"
fi
cd clients/python
"$bin/ruff" format --check --quiet
"$bin/ruff" check --quiet
"$bin/mypy" --no-error-summary
"$bin/python" -m pytest "$@"
