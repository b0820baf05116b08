#!/usr/bin/env python3
"""Checks, with SAM's own code, the API that sam-template.yaml becomes: every route has an integration and
wants a token but those that are for everybody, which are the local front's; for each value of the
parameter Authorizer the other authorizer is not there, and a Lambda authorizer's verdicts are not remembered.
Run it with the Python of SAM (.tools/lint)."""
import logging
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
logging.disable(logging.WARNING)
os.environ.update(AWS_DEFAULT_REGION="eu-central-1", SAM_CLI_TELEMETRY="0")

from samcli.yamlhelper import yaml_parse  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402


class NoPolicies:
    """Functions have roles of their own."""

    def load(self):
        return {}


def body(template):
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::ApiGatewayV2::Api":
            return resource["Properties"]["Body"]
    sys.exit("check_routes: the template has no HTTP API")


def routes(api):
    for path, methods in api["paths"].items():
        for method, what in methods.items():
            yield path, {"x-amazon-apigateway-any-method": "ANY"}.get(method, method.upper()), what


def of(value, condition, holds):
    """The value with `condition` decided."""
    if isinstance(value, dict):
        if "Fn::If" in value and value["Fn::If"][0] == condition:
            return of(value["Fn::If"][1 if holds else 2], condition, holds)
        return {k: of(v, condition, holds) for k, v in value.items()}
    return [of(v, condition, holds) for v in value] if isinstance(value, list) else value


def main():
    errors = []
    source = yaml_parse((ROOT / "sam-template.yaml").read_text())
    events = {
        (e["Properties"]["Path"], e["Properties"]["Method"])
        for r in source["Resources"].values() if r["Type"] == "AWS::Serverless::Function"
        for e in r["Properties"].get("Events", {}).values() if e["Type"] == "HttpApi"
    }
    for resource in source["Resources"].values():
        # What is built is in a bucket by then.
        for name in ("CodeUri", "ContentUri"):
            if name in resource["Properties"]:
                resource["Properties"][name] = "s3://bucket/key"
    made = transform(source, {}, NoPolicies())
    api = body(made)
    for name, resource in made["Resources"].items():
        if name.startswith("Authorizer") and resource.get("Condition") != "AsksAuthorizer":
            errors.append(f"{name} would be there without the function it is for")
    front = (ROOT / "crates/local/src/front/server.rs").read_text()
    public = {(path, "GET") for path in re.findall(r'"([^"]+)"', re.search(r"(?s)const PUBLIC[^=]*=\s*\[(.*?)\]", front)[1])}
    found = {(path, method) for path, method, _ in routes(api)}
    for path, method in sorted(found ^ events):
        errors.append(f"{method} {path} is a function's event or in DefinitionBody, not both")
    for path, method, what in routes(api):
        if "x-amazon-apigateway-integration" not in what:
            errors.append(f"{method} {path} leads nowhere")
        security = what.get("security", [])
        if (path, method) in public and security:
            errors.append(f"{method} {path} is for everybody at the local front, and wants a token on AWS")
        if (path, method) not in public and security != [{"Tenant": []}]:
            errors.append(f"{method} {path} is open: {security}")
    for path, method in sorted(public - found):
        errors.append(f"{method} {path} is for everybody at the local front, and not there on AWS")
    for holds in (False, True):
        schemes = of(api["components"]["securitySchemes"], "AsksAuthorizer", holds)
        scheme = schemes.get("Tenant", {}).get("x-amazon-apigateway-authorizer", {})
        told = {k: scheme.get(k) for k in ("type", "authorizerResultTtlInSeconds", "enableSimpleResponses", "authorizerPayloadFormatVersion")}
        wanted = dict(zip(told, ("request", 0, True, "2.0") if holds else ("jwt", None, None, None)))
        if list(schemes) != ["Tenant"] or told != wanted:
            errors.append(f"with Authorizer={'lambda' if holds else 'jwt'} the authorizer is {schemes}")
        if "$request.header.Authorization" not in scheme.get("identitySource", ""):
            errors.append(f"the authorizer's identity source is {scheme.get('identitySource')}")
    for error in errors:
        print(f"check_routes: {error}", file=sys.stderr)
    if not errors:
        print(f"{len(found)} routes, {len(public)} of them for everybody: as the local front has them, with either authorizer")
    return bool(errors)


sys.exit(main())
