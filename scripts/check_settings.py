#!/usr/bin/env python3
"""Checks that docs/configuration.md, sam-template.yaml, samconfig.toml and infra/parameters.tf
name the same variables and parameters. (A Rust test compares the functions' own structs with
docs/configuration.md.)"""
import pathlib
import re
import sys
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECRETS = {"EAVES_DB_PASSWORD", "EAVES_REDIS_URL", "EAVES_PLUGIN_KEY", "EAVES_SUPERADMIN_PASSWORD"}
# What the template leaves out, and why.
LEFT_OUT = {
    "EAVES_REDIS_CA_FILE": "ElastiCache has a certificate of Amazon's public authorities",
    "EAVES_DB_CA_FILE": "RDS Proxy has one, too; only replicas need the file",
    "EAVES_DB_PASSWORD": "functions sign in with IAM tokens",
    "EAVES_SUPERADMIN_USER": "reads across tenants are for a deployment of the operators' own",
    "EAVES_SUPERADMIN_PASSWORD": "likewise",
}
# Parameters that no function reads, and why they are there.
FOR_OTHERS = {
}
errors = []


class Loader(yaml.SafeLoader):
    """Takes CloudFormation's short forms as plain values."""


def short_form(loader, _suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", short_form)

documented = {}
for line in (ROOT / "docs/configuration.md").read_text().splitlines():
    if match := re.match(r"\| `((?:EAVES|OTEL)_\w+)` \| ([^|]+) \| .* \| ([^|]+) \|$", line):
        documented[match[1]] = (match[2].strip().split(", "), match[3].strip())

template = yaml.load((ROOT / "sam-template.yaml").read_text(), Loader)
shared = template["Globals"]["Function"]["Environment"]["Variables"]
functions = {
    name.removesuffix("Function").lower(): resource["Properties"]
    for name, resource in template["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}
functions = {p["FunctionName"].removeprefix("eaves-${Environment}-"): p for p in functions.values()}
for function, properties in functions.items():
    set_here = {**shared, **properties.get("Environment", {}).get("Variables", {})}
    names = set()
    for name, value in set_here.items():
        if value == "AWS::NoValue":
            # Taken back from what is set for all.
            continue
        base = name.removesuffix("_SECRET")
        if base in SECRETS and name == base:
            errors.append(f"{function}: {name} holds a secret: use {name}_SECRET")
        if "resolve:secretsmanager" in str(value):
            errors.append(f"{function}: {name} would show a secret in the function's configuration")
        names.add(base if name.endswith("_SECRET") else name)
    wanted = {name for name, (where, _) in documented.items() if "all" in where or function in where}
    for name in names - wanted:
        errors.append(f"{function}: sam-template.yaml sets {name}, which docs/configuration.md does not list for it")
    for name in wanted - names - set(LEFT_OUT):
        errors.append(f"{function}: sam-template.yaml does not set {name}")
for name, (where, _) in documented.items():
    for function in where:
        if function != "all" and function not in functions:
            errors.append(f"docs/configuration.md: {name} is for {function}, which sam-template.yaml does not have")

text = (ROOT / "sam-template.yaml").read_text()
read = set(re.findall(r"\{\{resolve:ssm:/eaves/\$\{Environment\}/([\w/-]+)\}\}", text))
read |= set(re.findall(r"Default: /eaves/dev/([\w/-]+)", text))
written = set(re.findall(r'(?m)^\s+"([a-z-]+/[a-z-]+)"\s+=', (ROOT / "infra/parameters.tf").read_text()))
for name in read - written:
    errors.append(f"sam-template.yaml reads the parameter {name}, which infra/parameters.tf does not write")
for name in written - read - set(FOR_OTHERS):
    errors.append(f"infra/parameters.tf writes {name}, which nothing reads")
for name in set(FOR_OTHERS) - written:
    errors.append(f"infra/parameters.tf does not write {name}")

config = tomllib.loads((ROOT / "samconfig.toml").read_text())
for environment in ("dev", "staging", "prod"):
    overrides = dict(
        pair.split("=", 1) for pair in config[environment]["deploy"]["parameters"]["parameter_overrides"].split()
    )
    for name, value in overrides.items():
        declared = template["Parameters"].get(name)
        if declared is None:
            errors.append(f"samconfig.toml, {environment}: sam-template.yaml has no parameter {name}")
        elif "SSM::Parameter" in declared["Type"]:
            expected = declared["Default"].replace("/dev/", f"/{environment}/")
            if value != expected:
                errors.append(f"samconfig.toml, {environment}: {name} is {value}, not {expected}")
    for name, declared in template["Parameters"].items():
        if "SSM::Parameter" in declared["Type"] and name not in overrides:
            errors.append(f"samconfig.toml, {environment}: {name} is not set and would be that of dev")
    if overrides.get("Environment") != environment:
        errors.append(f"samconfig.toml, {environment}: Environment is {overrides.get('Environment')}")

local = (ROOT / "crates/local/src/endpoints.rs").read_text()
for name in set(re.findall(r'"(EAVES_\w+)"', local)) - set(documented):
    errors.append(f"crates/local sets {name}, which docs/configuration.md does not list")

for error in dict.fromkeys(errors):
    print(f"check_settings: {error}", file=sys.stderr)
if not errors:
    print(f"{len(documented)} variables, {len(written)} parameters: named alike everywhere")
sys.exit(bool(errors))
