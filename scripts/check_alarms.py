#!/usr/bin/env python3
"""Checks ops/alarms.json and the alarms of sam-template.yaml: each alarm's metric exists and is
written by the function it names, each has a runbook with its name, commands to run and the sections
people look for, each runbook is for something, and the alarms that the design asks for are there.
Canaries have no runbook: a deployment is rolled back by them, if it names them."""
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
# AWS metrics by namespace, with the dimensions they come with (CloudWatch user guides).
AWS = {
    "AWS/RDS": {
        "CPUUtilization": ["DBInstanceIdentifier"], "FreeStorageSpace": ["DBInstanceIdentifier"],
        "ReplicaLag": ["DBInstanceIdentifier"], "OldestReplicationSlotLag": ["DBInstanceIdentifier"],
        "AuroraReplicaLag": ["DBInstanceIdentifier"], "FreeLocalStorage": ["DBInstanceIdentifier"],
        "TransactionLogsDiskUsage": ["DBInstanceIdentifier"],
        "DatabaseConnectionsCurrentlySessionPinned": ["ProxyName"],
    },
    "AWS/ElastiCache": {"EngineCPUUtilization": ["CacheClusterId"]},
    "AWS/Kinesis": {"WriteProvisionedThroughputExceeded": ["StreamName"]},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible": ["QueueName"]},
    "AWS/Lambda": {
        "IteratorAge": ["FunctionName"], "Errors": ["FunctionName"], "Throttles": ["FunctionName"],
        "Duration": ["FunctionName"], "DestinationDeliveryFailures": ["FunctionName"],
        # With MetricsConfig: [EventCount] of the mapping.
        "OnFailureDestinationDeliveredEventCount": ["EventSourceMappingUUID"],
    },
    # Of an HTTP API; a REST API has others.
    "AWS/ApiGateway": {"5xx": ["ApiId"]},
}
# What the seeds and the design ask for: metric and threshold, on RDS and on Aurora.
WANTED = {
    ("AWS/RDS", "CPUUtilization", 80), ("AWS/RDS", "ReplicaLag", 3), ("AWS/RDS", "ReplicaLag", 10),
    ("AWS/RDS", "AuroraReplicaLag", 3000), ("AWS/RDS", "AuroraReplicaLag", 10_000),
    ("AWS/RDS", "FreeStorageSpace", 10 * 1024**3), ("AWS/RDS", "FreeLocalStorage", 10 * 1024**3),
    ("AWS/RDS", "OldestReplicationSlotLag", 1024**3), ("AWS/RDS", "TransactionLogsDiskUsage", 1024**3),
    ("AWS/RDS", "DatabaseConnectionsCurrentlySessionPinned", 0),
    ("AWS/ElastiCache", "EngineCPUUtilization", 75), ("AWS/Lambda", "IteratorAge", 60_000),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", 0),
    ("AWS/RDS", "ReplicaLag", 0), ("Eaves", "batches_handed_back", 0),
    ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", 0), ("AWS/ApiGateway", "5xx", 5),
    ("Eaves", "staging_backlog", 1_000_000), ("Eaves", "stream_losses", 0), ("Eaves", "plugin_failures", 0),
}
# What runs only on one of the two, or on both: the groups of infra/main.tf that alarms are made over.
ONLY = {
    "ReplicaLag": "replicas", "FreeStorageSpace": "rds", "OldestReplicationSlotLag": "rds_primary",
    "AuroraReplicaLag": "aurora", "FreeLocalStorage": "aurora", "TransactionLogsDiskUsage": "aurora",
}
SECTIONS = ["## What it means", "## Look", "## Do", "## Afterwards"]
errors = []

text = (ROOT / "crates/telemetry/src/metrics.rs").read_text()
constants = dict(re.findall(r'pub const (\w+): &str = "(\w+)";', text))
own = {}
for const, functions in re.findall(r"name:\s*(\w+),\s*unit:\s*Unit::\w+,\s*functions:\s*&\[([^\]]*)\]", text):
    own[constants[const]] = set(re.findall(r'"(\w[\w-]*)"', functions))
    # By its path, or brought in by a `use`.
    used = re.compile(rf"\b{const}\b")
    for function in own[constants[const]]:
        sources = (ROOT / "functions" / function / "src").rglob("*.rs")
        if not any(used.search(path.read_text()) for path in sources):
            errors.append(f"metrics.rs: {const} is said to be written by {function}, which does not name it")
for function in (ROOT / "functions").iterdir():
    for path in (function / "src").rglob("*.rs"):
        for const in set(re.findall(r"metrics::([A-Z_]+)\b", path.read_text())):
            if const in constants and function.name not in own.get(constants[const], set()):
                errors.append(f"metrics.rs: {const} is written by {function.name}, too; add it to METRICS")



class Loader(yaml.SafeLoader):
    """Takes CloudFormation's short forms as plain values."""


def short_form(loader, _suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", short_form)

template = (ROOT / "sam-template.yaml").read_text()
resources = yaml.load(template, Loader)["Resources"]
alarms = json.loads((ROOT / "ops/alarms.json").read_text())["alarms"]

# What rolls a deployment back, by logical id or by name: it exists, and is for something.
canaries, rolled_back_by = {}, set()
for name, resource in resources.items():
    rolled_back_by |= set(resource.get("Properties", {}).get("DeploymentPreference", {}).get("Alarms", []))
for id_, resource in resources.items():
    if resource["Type"] != "AWS::CloudWatch::Alarm":
        continue
    p = resource["Properties"]
    name = p["AlarmName"].removeprefix("eaves-${Environment}-")
    dimensions = {d["Name"]: d["Value"] for d in p["Dimensions"]}
    if name.startswith("canary-"):
        canaries |= {id_: name, p["AlarmName"]: name}
        if not {id_, p["AlarmName"]} & rolled_back_by:
            errors.append(f"sam-template.yaml: no deployment is rolled back by {id_}")
        # A version's errors are counted by the alias that leads to it.
        known = {**AWS, "AWS/Lambda": {"Errors": ["FunctionName", "Resource"]}}
        if p["Namespace"] == "Eaves":
            if list(dimensions) != ["environment", "function"] or dimensions["function"] not in own.get(p["MetricName"], ()):
                errors.append(f"{name}: {p['MetricName']} is not written by {dimensions}")
        elif known.get(p["Namespace"], {}).get(p["MetricName"]) != list(dimensions):
            errors.append(f"{name}: {p['Namespace']} {p['MetricName']} by {list(dimensions)} is not known to this script")
        continue
    runbook = re.search(r"Runbook: \S*/alarms/runbook-url\}\}/([\w-]+\.md)$", p["AlarmDescription"])
    urgencies = {re.search(r"/alarms/(page|ticket)-topic-arn\}\}$", topic)[1] for topic in p["AlarmActions"] + p["OKActions"]}
    if name in alarms:
        errors.append(f"{name}: both in ops/alarms.json and in sam-template.yaml")
    if not runbook or len(urgencies) != 1:
        errors.append(f"{name}: sam-template.yaml gives it no runbook, or not one urgency")
        continue
    alarms[name] = {
        "namespace": p["Namespace"], "metric": p["MetricName"], "dimensions": dimensions, "threshold": p["Threshold"],
        "urgency": urgencies.pop(), "runbook": runbook[1],
    }
for name in rolled_back_by - set(canaries):
    errors.append(f"sam-template.yaml: a deployment is to be rolled back by {name}, which is no canary")
runbooks = {path.name for path in (ROOT / "ops/runbooks").glob("*.md")}
linked = set()
for name, alarm in alarms.items():
    metric, dimensions = alarm["metric"], alarm["dimensions"]
    if alarm["namespace"] == "Eaves":
        if metric not in own:
            errors.append(f"{name}: there is no metric {metric}")
        elif dimensions.get("function") not in own[metric]:
            errors.append(f"{name}: {metric} is not written by {dimensions.get('function')}")
        if list(dimensions) != ["environment", "function"]:
            errors.append(f"{name}: Eaves' metrics have the dimensions environment and function")
    elif AWS.get(alarm["namespace"], {}).get(metric) != list(dimensions):
        errors.append(f"{name}: {alarm['namespace']} {metric} by {list(dimensions)} is not known to this script")
    if ONLY.get(metric, alarm.get("over")) != alarm.get("over"):
        errors.append(f"{name}: {metric} exists for {ONLY[metric]} only, not for {alarm.get('over')}")
    function = dimensions.get("FunctionName", "").removeprefix("eaves-{environment}-")
    if function and f'"eaves-${{Environment}}-{function}"' not in template:
        errors.append(f"{name}: sam-template.yaml has no function {function}")
    if alarm["urgency"] not in ("page", "ticket"):
        errors.append(f"{name}: urgency is {alarm['urgency']}")
    if alarm["runbook"] not in runbooks:
        errors.append(f"{name}: there is no ops/runbooks/{alarm['runbook']}")
    elif f"`{name}`" not in (ROOT / "ops/runbooks" / alarm["runbook"]).read_text():
        errors.append(f"{name}: ops/runbooks/{alarm['runbook']} does not name it")
    linked.add(alarm["runbook"])
for wanted in WANTED - {(a["namespace"], a["metric"], a["threshold"]) for a in alarms.values()}:
    errors.append(f"no alarm on {wanted}")
for function in re.findall(r'FunctionName: !Sub "eaves-\$\{Environment\}-([\w-]+)"', template):
    if f"errors-{function}" not in alarms:
        errors.append(f"no alarm errors-{function}")

index = (ROOT / "ops/runbooks/README.md").read_text()
commands = {path.stem for path in (ROOT / "crates/cli/src").iterdir()}
for name in sorted(runbooks - {"README.md"}):
    body = (ROOT / "ops/runbooks" / name).read_text()
    if f"({name})" not in index:
        errors.append(f"ops/runbooks/README.md does not list {name}")
    if name not in linked and "Not an alarm" not in body:
        errors.append(f"ops/runbooks/{name}: no alarm links it")
    for section in SECTIONS:
        if section not in body:
            errors.append(f"ops/runbooks/{name}: has no section {section}")
    if "```" not in body:
        errors.append(f"ops/runbooks/{name}: has no command to run")
    for alarm in re.findall(r"(?m)^Alarms?: (.*)$", body):
        for one in re.findall(r"`([\w-]+)`", alarm):
            if one not in alarms:
                errors.append(f"ops/runbooks/{name}: there is no alarm {one}")
    for command in re.findall(r"(?m)^\s*eaves (\w+)", body):
        if command not in commands:
            errors.append(f"ops/runbooks/{name}: there is no command `eaves {command}`")

for error in dict.fromkeys(errors):
    print(f"check_alarms: {error}", file=sys.stderr)
if not errors:
    print(f"{len(alarms)} alarms, {len(runbooks) - 1} runbooks: each leads to the other")
sys.exit(bool(errors))
