#!/usr/bin/env python3
"""Checks each function's role against the AWS calls that its code can make, both ways:
what is called must be allowed, and what is allowed must be called (or be in EXTRA, with its
reason). No action is `*` or a whole service, and `*` as a resource has to be justified. The
network has no way out but endpoints: each service that is called has one, and each that is paid
for is called.

The calls are found in the sources: SDK operations inside `fn` bodies, and which of these the
function's binary can reach through its own crate's dependencies. Calls are followed by name
only, so two functions of one name count as one: never too few, now and then too many (IGNORE).
"""
import pathlib
import re
import sys
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent

# SDK operations by method name, where its receiver says that it is a call to AWS.
OPERATIONS = {
    "describe_stream_summary": "kinesis:DescribeStreamSummary",
    "describe_stream": "kinesis:DescribeStream",
    "get_records": "kinesis:GetRecords",
    "get_shard_iterator": "kinesis:GetShardIterator",
    "list_shards": "kinesis:ListShards",
    "put_record": "kinesis:PutRecord",
    "put_records": "kinesis:PutRecords",
    "batch_get_item": "dynamodb:BatchGetItem",
    "create_table": "dynamodb:CreateTable",
    "delete_item": "dynamodb:DeleteItem",
    "get_item": "dynamodb:GetItem",
    "put_item": "dynamodb:PutItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "transact_get_items": "dynamodb:TransactGetItems",
    "transact_write_items": "dynamodb:TransactWriteItems",
    "update_item": "dynamodb:UpdateItem",
    "get_secret_value": "secretsmanager:GetSecretValue",
    "send_message": "sqs:SendMessage",
    "invoke": "lambda:InvokeFunction",
}
# A transaction is allowed by its parts.
PARTS = {
    "dynamodb:TransactWriteItems": {"dynamodb:PutItem"},
    "dynamodb:TransactGetItems": {"dynamodb:GetItem"},
}
# crates/registry/src/files.rs and crates/olap/src/archive.rs go to S3 through object_store, whose methods have common
# names.
OBJECT_STORE = {
    "get": "s3:GetObject", "head": "s3:GetObject", "put": "s3:PutObject", "put_opts": "s3:PutObject",
    "delete": "s3:DeleteObject", "list": "s3:ListBucket",
}
# Allowed though no code of ours calls it: the platform does, with the function's role.
EXTRA = {
    "all": {
        "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
        "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
        # Checked when a connection is opened with a token.
        "rds-db:connect",
    },
    # The event source mapping reads the stream and keeps what it gives up.
    "ingest": {
        "kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords",
        "kinesis:GetShardIterator", "kinesis:ListShards", "s3:ListBucket", "s3:PutObject",
        "kms:GenerateDataKey",
    },
    # Records put into an encrypted stream.
    "query": {"kms:GenerateDataKey"},
    # Items and objects written encrypted; a large object's parts are decrypted to be put together.
    "plugin-admin": {"kms:GenerateDataKey"},
    "olap-load": {"kms:GenerateDataKey", "kms:Decrypt"},
}
# What is read encrypted is decrypted by whoever reads.
DECRYPTS = ("kinesis:GetRecords", "dynamodb:", "s3:GetObject", "secretsmanager:")
# Services and their endpoints in the functions' network; what is not here is called by AWS on the
# functions' behalf, from elsewhere.
ENDPOINTS = {
    "dynamodb": "dynamodb", "kinesis": "kinesis-streams", "lambda": "lambda", "s3": "s3",
    "secretsmanager": "secretsmanager", "sqs": "sqs",
    # By a collector of traces beside the function.
    "xray": "xray",
}
# Resources that have no name beforehand.
ANY_RESOURCE = {"LiveInTheNetwork", "WriteTraces"}
# (function, operation) that the search by name finds and the code cannot reach, with the reason.
IGNORE = {
    # `Registry::push` is the command line's; `push` is also what lists have.
    ("ingest", "dynamodb:PutItem"),
    ("flush", "dynamodb:PutItem"),
    # Likewise what changes a version's state: they only read.
    ("ingest", "dynamodb:UpdateItem"),
    ("flush", "dynamodb:UpdateItem"),
    ("flush", "s3:PutObject"),
    # It reads rows and files by their keys; names such as `add` and `run` are others', too.
    ("hot-projection", "dynamodb:PutItem"),
    ("hot-projection", "dynamodb:Query"),
    ("hot-projection", "dynamodb:UpdateItem"),
    ("hot-projection", "s3:PutObject"),
    # They look for references to secrets, and have none.
    ("olap-load", "secretsmanager:GetSecretValue"),
    # It writes files; `get` is also what rows and maps have.
    ("olap-load", "s3:GetObject"),
}
errors = []


class Loader(yaml.SafeLoader):
    pass


def short_form(loader, _suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", short_form)


def crates_of(manifest):
    """The workspace crates a package needs, itself included."""
    found, todo = {}, [manifest]
    while todo:
        path = todo.pop()
        data = tomllib.loads(path.read_text())
        if data["package"]["name"] in found:
            continue
        found[data["package"]["name"]] = path.parent
        for name in data.get("dependencies", {}):
            if name.startswith("eaves-"):
                todo.append(ROOT / "crates" / name.removeprefix("eaves-") / "Cargo.toml")
    return found


def bodies(text):
    """(name, body) of each fn."""
    for match in re.finditer(r"\bfn (\w+)", text):
        start = text.find("{", match.end())
        semicolon = text.find(";", match.end())
        if start < 0 or 0 <= semicolon < start:
            continue
        depth, at = 0, start
        while at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
            if depth == 0:
                break
        yield match[1], text[start:at]


def without_noise(text):
    # Together: an address in a string is no comment, nor is a quote in a comment a string.
    noise = r"""(?P<string>"(?:\\.|[^"\\])*")|(?P<comment>//[^\n]*)|(?P<char>b?'(?:\\.|[^'\\])')"""
    short = {"string": '""', "comment": "", "char": "0"}
    text = re.sub(noise, lambda found: short[found.lastgroup], text)
    # Tests are not deployed.
    cut = text.find("#[cfg(test)]\nmod")
    return text if cut < 0 else text[:cut]


def reachable(function):
    calls, operations, roots = {}, {}, set()
    for name, folder in crates_of(ROOT / "functions" / function / "Cargo.toml").items():
        for path in sorted((folder / "src").rglob("*.rs")):
            if "tests" in path.name or "/bin/" in str(path):
                continue
            text = without_noise(path.read_text())
            for fn, body in bodies(text):
                calls.setdefault(fn, set()).update(re.findall(r"\b(\w+)\s*(?:::<[^>]*>)?\(", body))
                calls[fn] |= set(re.findall(r"\b\w+::(\w+)\b", body))
                found = operations.setdefault(fn, set())
                for method in re.findall(r"client\s*\.(\w+)\(\)", body):
                    if method in OPERATIONS:
                        found.add(OPERATIONS[method])
                if path.name in ("files.rs", "archive.rs") and "object_store" in text:
                    for method in re.findall(r"\.(\w+)\(", body):
                        if method in OBJECT_STORE:
                            found.add(OBJECT_STORE[method])
                if path.is_relative_to(ROOT / "functions" / function):
                    roots.add(fn)
    seen, todo = set(), list(roots)
    while todo:
        fn = todo.pop()
        if fn not in seen and fn in calls:
            seen.add(fn)
            todo.extend(calls[fn])
    return {operation for fn in seen for operation in operations.get(fn, ())}


template = yaml.load((ROOT / "sam-template.yaml").read_text(), Loader)
resources = template["Resources"]
# Every SDK method that is used anywhere is in the table, or it would not be noticed.
for path in (ROOT / "crates").glob("*/src/**/*.rs"):
    if "/local/" in str(path):
        continue
    for method in re.findall(r"(?:self\.client|\bclient)\s*\.(\w+)\(\)\s*\.(?:\w+\([^;]*?\)\s*\.)*?send\(\)", without_noise(path.read_text())):
        if method not in OPERATIONS:
            errors.append(f"{path.relative_to(ROOT)}: {method}() is not in the table of this script")

network = ROOT / "infra/modules/network"
lists = re.findall(r"(?s)\b(?:for_each\s*=\s*toset\(|default\s*=\s*)\[([^\]]*)\]", "".join(p.read_text() for p in network.glob("*.tf")))
endpoints = {name for text in lists for name in re.findall(r'"([^"]+)"', text)}
interfaces = set(re.findall(r'"([^"]+)"', re.search(
    r'(?s)variable "endpoints" \{.*?default\s*=\s*\[([^\]]*)\]', (network / "variables.tf").read_text())[1]))
needed = set()

total = 0
for name, resource in resources.items():
    if resource["Type"] == "AWS::IAM::Role":
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                for action in [actions] if isinstance(actions, str) else actions:
                    if "*" in action:
                        errors.append(f"{name}, {statement['Sid']}: {action}: name the actions")
                if statement["Resource"] == "*" and statement["Sid"] not in ANY_RESOURCE:
                    errors.append(f"{name}, {statement['Sid']}: on any resource")
    if resource["Type"] != "AWS::Serverless::Function":
        continue
    properties = resource["Properties"]
    if "Policies" in properties:
        errors.append(f"{name}: has Policies besides its role")
    function = properties["FunctionName"].removeprefix("eaves-${Environment}-")
    role_name = properties["Role"].split(".")[0]
    if sum(r["Properties"].get("Role") == properties["Role"] for r in resources.values()) > 1:
        errors.append(f"{name}: shares its role")
    allowed = set()
    for policy in resources[role_name]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"]
            allowed |= {actions} if isinstance(actions, str) else set(actions)
    called = set()
    for operation in reachable(function) - {op for f, op in IGNORE if f == function}:
        called |= PARTS.get(operation, {operation})
    if any(action.startswith(DECRYPTS) for action in called):
        called.add("kms:Decrypt")
    for service in sorted({action.split(":")[0] for action in called | {"xray:PutTraceSegments"}}):
        needed.add(ENDPOINTS.get(service))
        if service in ENDPOINTS and ENDPOINTS[service] not in endpoints:
            errors.append(f"{function}: calls {service}, and infra/modules/network has no endpoint {ENDPOINTS[service]}")
    extra = EXTRA["all"] | EXTRA.get(function, set())
    for action in sorted(called - allowed):
        errors.append(f"{function}: its code calls {action}, which {role_name} does not allow")
    for action in sorted(allowed - called - extra):
        errors.append(f"{function}: {role_name} allows {action}, which its code does not call")
    total += len(allowed)

for name in sorted(interfaces - needed):
    errors.append(f"infra/modules/network has an endpoint {name}, and no function calls it")
for error in dict.fromkeys(errors):
    print(f"check_iam: {error}", file=sys.stderr)
if not errors:
    print(f"{total} allowed actions, each called; no call without permission")
sys.exit(bool(errors))
