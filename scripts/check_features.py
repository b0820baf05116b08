#!/usr/bin/env python3
"""Are crates compiled once? A crate with other features in the tests' build than in the programs'
is compiled twice, and with it all that depends on it: minutes of a first `make test`."""

import subprocess
import sys
from collections import defaultdict


def features(edges: str) -> dict[str, set[str]]:
    command = ["cargo", "tree", "--workspace", "--locked", "--prefix", "none"]
    command += ["--edges", edges, "--format", "{p}|{f}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = defaultdict(set)
    for line in told.splitlines():
        # One that came before with all that it needs is marked.
        package, _, names = line.removesuffix(" (*)").partition("|")
        # Members are compiled anew for their own tests whatever their features are.
        if package and "(/" not in package.replace("(proc-macro)", ""):
            found[package].add(names)
    return found


def main() -> int:
    programs, tests = features("normal,build"), features("normal,build,dev")
    wrong = 0
    for package, sets in sorted(programs.items()):
        for names in sorted(tests.get(package, sets) - sets):
            wrong += 1
            has = ", ".join(sorted(sets)) or "none"
            print(f"{package}: features {names or 'none'} in tests, {has} in programs", file=sys.stderr)
    if wrong:
        print("Give the programs' build the same features: see `arbitrary` in Cargo.toml.", file=sys.stderr)
        return 1
    print(f"features: {len(programs)} crates are compiled with the same features for programs and tests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
