#!/usr/bin/env python3
"""Writes a CycloneDX list of what is linked into each function as it is deployed, and into the
command line, to target/sbom/, one file each. Needs cargo and nothing else; the same commit gives
the same files."""
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
# C that a crate for building brings: linked in with what asks for it.
BROUGHT = {"openssl-sys": "openssl-src"}
# Whatever is not the machine's own: as scripts/build-function.sh builds.
TARGET = "aarch64-unknown-linux-gnu"


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def linked(package, features):
    """(name, version) of each crate that ends in the program: no procedural macros, no build scripts."""
    found = set()
    options = ["--features", features] if features else []
    told = run("cargo", "tree", "--locked", "--package", package, *options, "--target", TARGET,
               "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    for line in filter(None, told.splitlines()):
        name, version, *_ = line.removesuffix(" (*)").split()
        found.add((name, version.removeprefix("v")))
    return found


def component(package, checksum):
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    made = {"type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
    if package.get("license"):
        # Older crates write a slash for "or".
        made["licenses"] = [{"expression": " OR ".join(part.strip() for part in package["license"].split("/"))}]
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def main():
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--all-features",
                              "--filter-platform", TARGET))
    packages = {(p["name"], p["version"]): p for p in metadata["packages"]}
    ids = {p["id"]: (p["name"], p["version"]) for p in metadata["packages"]}
    needs = {ids[node["id"]]: [ids[i] for i in node["dependencies"]] for node in metadata["resolve"]["nodes"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    commit, when = run("git", "log", "-1", "--format=%H %cI").split()
    out = ROOT / "target/sbom"
    out.mkdir(parents=True, exist_ok=True)
    manifests = [*sorted((ROOT / "functions").glob("*/Cargo.toml")), ROOT / "crates/cli/Cargo.toml"]
    for manifest in manifests:
        data = tomllib.loads(manifest.read_text())
        package = data["package"]["name"]
        features = "vendored-tls" if "vendored-tls" in data.get("features", {}) else ""
        parts = linked(package, features)
        program = next(key for key in parts if key[0] == package)
        for asking, brings in BROUGHT.items():
            if features and any(name == asking for name, _ in parts):
                parts |= {key for key in packages if key[0] == brings}
        for key in parts:
            source = packages[key]["source"]
            if source not in (None, REGISTRY):
                sys.exit(f"sbom: {key[0]} {key[1]} comes from {source}, which deny.toml forbids")
        whole = component(packages[program], None) | {"type": "application"}
        ref = lambda key: f"pkg:cargo/{key[0]}@{key[1]}"
        bom = {
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'eaves/{package}/{commit}')}",
            "metadata": {
                "timestamp": when, "component": whole,
                "properties": [{"name": "eaves:commit", "value": commit}, {"name": "eaves:target", "value": TARGET}],
            },
            "components": [component(packages[key], checksums[key]) for key in sorted(parts - {program})],
            "dependencies": [
                {"ref": ref(key), "dependsOn": sorted({ref(other) for other in needs.get(key, []) if other in parts})}
                for key in sorted(parts)
            ],
        }
        name = manifest.parent.name
        path = out / f"eaves-{name}-sbom.json"
        path.write_text(json.dumps(bom, indent=1) + "\n")
        print(f"{path.relative_to(ROOT)}: {len(bom['components'])} components")


if __name__ == "__main__":
    main()
