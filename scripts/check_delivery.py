#!/usr/bin/env python3
"""Checks that sam-template.yaml's event source mapping has the settings that docs/delivery.md says
the promise rests on, and that the page names all that the mapping has."""
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Where records come from and how many come at once: nothing is lost or doubled by another value.
OF_NO_PROMISE = {"Stream", "BatchSize", "MaximumBatchingWindowInSeconds", "MetricsConfig"}
# A row of the table that the stream has, not the mapping.
OF_THE_STREAM = {"retention"}
errors = []


class Loader(yaml.SafeLoader):
    """Takes CloudFormation's short forms as plain values."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node)
                             if isinstance(node, yaml.ScalarNode) else None)

page = (ROOT / "docs/delivery.md").read_text()
table = re.search(r"(?s)## What you have to set\n.*?\n\|---\|---\|---\|\n(.*?)\n\n", page)
told = dict(re.findall(r"(?m)^\| ([^|]+?) \| ([^|]+?) \| [^|]+ \|$", table[1])) if table else {}
told = {name.replace("`", ""): value.replace("`", "") for name, value in told.items()}

template = yaml.load((ROOT / "sam-template.yaml").read_text(), Loader)
mappings = [
    event["Properties"]
    for resource in template["Resources"].values() if resource["Type"] == "AWS::Serverless::Function"
    for event in resource["Properties"].get("Events", {}).values() if event["Type"] == "Kinesis"
]
if len(mappings) != 1:
    errors.append(f"sam-template.yaml has {len(mappings)} mappings of a stream; this script knows one")
for mapping in mappings:
    there = {}
    for name, value in mapping.items():
        if name == "DestinationConfig":
            there |= {f"{when} destination": destination["Type"] for when, destination in value.items()}
        elif name not in OF_NO_PROMISE:
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            there[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for name in sorted(there.keys() | told.keys() - OF_THE_STREAM):
        if there.get(name) != told.get(name):
            errors.append(f"{name}: sam-template.yaml has {there.get(name)}, docs/delivery.md says {told.get(name)}")
for name in OF_THE_STREAM - set(told):
    errors.append(f"docs/delivery.md says nothing of the {name}")

for error in errors:
    print(f"check_delivery: {error}", file=sys.stderr)
if not errors:
    print(f"{len(told)} settings of the event source mapping: as docs/delivery.md has them")
sys.exit(bool(errors))
