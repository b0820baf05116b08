#!/usr/bin/env python3
"""Checks, with SAM's own code, what `sam local` would hand to each function: all that
scripts/sam-local-env.sh says for it, nothing that only AWS could resolve, and an event for each
function to be tried with. Run it with the Python of SAM (.tools/lint)."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "sam-template.yaml"
# What a platform on one machine says of itself (crates/local/src/state.rs), made up.
PLATFORM = {
    "database_port": 5001, "replica_port": 5002, "database": "eaves", "region": "us-east-1", "stream": "s",
    "passwords": {role: f"password of {role}" for role in re.findall(r"EAVES_DB_USER: (\w+)", TEMPLATE.read_text())},
    "aws_endpoint_url": "http://127.0.0.1:5003", "kinesis_endpoint_url": "http://127.0.0.1:5004",
    "redis_url": "redis://127.0.0.1:5005", "registry_table": "t", "plugin_bucket": "b", "plugin_key": "00" * 32,
    "archive_bucket": "a", "api_url": "http://127.0.0.1:5006",
}
# Made up as well: what only a deployment knows.
os.environ.update(AWS_DEFAULT_REGION="eu-central-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x",
                  SAM_CLI_TELEMETRY="0")


def environments(template, overrides):
    """What each function would find in its environment."""
    from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
    from samcli.lib.providers.sam_function_provider import SamFunctionProvider
    from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

    stacks, _ = SamLocalStackProvider.get_stacks(str(template))
    provider = SamFunctionProvider(stacks)
    runner = LocalLambdaRunner(None, provider, str(ROOT), str(ROOT), env_vars_values=overrides)
    return {f.name: runner._make_env_vars(f).resolve() for f in provider.get_all()}


def main():
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder)
        (data / "platform.json").write_text(json.dumps(PLATFORM))
        local = data / "local.yaml"
        told = subprocess.run(
            [ROOT / "scripts/sam-local-env.sh", folder], capture_output=True, text=True,
            env={**os.environ, "EAVES_SAM_TEMPLATE": str(TEMPLATE), "EAVES_SAM_LOCAL": str(local)},
        )
        if told.returncode:
            sys.exit(f"check_sam_local: {told.stderr}")
        overrides = json.loads(told.stdout)
        found = environments(local, overrides)
    for function in sorted(set(found) ^ set(overrides)):
        errors.append(f"{function}: in the template or in the file of variables, not in both")
    for function, variables in found.items():
        for name, value in overrides.get(function, {}).items():
            if variables.get(name) != value:
                errors.append(f"{function}: {name} would be {variables.get(name)!r}, not {value!r}")
        for name, value in variables.items():
            if "{{resolve" in value:
                errors.append(f"{function}: {name} would be {value!r}: name it in scripts/sam-local-env.sh")
        events = variables["AWS_LAMBDA_FUNCTION_NAME"]
        name = "".join(f"-{c.lower()}" if c.isupper() else c for c in events.removesuffix("Function")).strip("-")
        if not list((ROOT / "tests/events" / name).glob("*.json")):
            errors.append(f"{function}: there is no event in tests/events/{name}")
    for error in errors:
        print(f"check_sam_local: {error}", file=sys.stderr)
    if not errors:
        print(f"{len(found)} functions: `sam local` hands on all that they need of a platform on this machine")
    return bool(errors)


sys.exit(main())
