#!/usr/bin/env python3
"""Estimates what each environment costs a month, from infra/environments/*.tfvars and the one
table infra/prices.json, and writes docs/cost.md. With --check it only says whether that page is
up to date. A size without a price is an error."""
import json
import pathlib
import sys

import hcl2

ROOT = pathlib.Path(__file__).resolve().parent.parent
PRICES = json.loads((ROOT / "infra/prices.json").read_text())
HOURS = PRICES["hours_per_month"]
# Counted in infra/ and sam-template.yaml; small, so an estimate of the number will do.
SECRETS, METRICS, ALARMS_AT_LEAST = 9, 45, 60


def value(node):
    if isinstance(node, list) and len(node) == 1:
        return value(node[0])
    if isinstance(node, dict):
        return {k.strip('"'): value(v) for k, v in node.items() if not k.startswith("__")}
    return node.strip('"') if isinstance(node, str) else node


def default(module, name):
    """What a module's variable is unless it is set: infra/ leaves these as they are."""
    with open(ROOT / "infra/modules" / module / "variables.tf") as file:
        variables = {k.strip('"'): v for block in hcl2.load(file)["variable"] for k, v in block.items()}
    return value(variables[name])["default"]


def hourly(name):
    if name not in PRICES["hourly"]:
        sys.exit(f"infra/prices.json has no hourly price of {name}")
    return PRICES["hourly"][name]


def estimate(settings):
    load = PRICES["load"][settings["environment"]]
    month, million = PRICES["monthly"], PRICES["per_million"]
    database, cache, stream, warehouse = (settings[k] for k in ("database", "cache", "stream", "warehouse"))
    seconds = HOURS * 3600
    costs = {}
    replicas = database["replicas"]
    if database.get("engine") == "aurora-postgresql":
        capacity = database["serverless_capacity"]
        acus = capacity["min"] + (capacity["max"] - capacity["min"]) * load["busy_share"] * 0.5
        costs["Aurora: writer"] = acus * hourly("aurora_acu") * HOURS
        costs["Aurora: readers"] = replicas * acus * hourly("aurora_acu") * HOURS
        costs["Database storage"] = load["database_gib"] * month["aurora_storage_gib"]
        costs["RDS Proxy"] = max(8, acus) * hourly("proxy_acu") * HOURS
    else:
        zones = 2 if database["multi_az"] else 1
        costs["RDS: primary" + (" and standby" if zones == 2 else "")] = zones * hourly(database["instance_class"]) * HOURS
        costs["RDS: replicas"] = replicas * hourly(database["replica_instance_class"]) * HOURS
        gib = database["storage_gib"]
        costs["Database storage"] = gib * (month["gp3_gib_multi_az"] if zones == 2 else month["gp3_gib"]) + replicas * gib * month["gp3_gib"]
        over = max(0, database.get("iops", 0) - 12000)
        costs["Database storage"] += over * month["gp3_iops_over_12000"] * (zones + replicas)
        vcpus = PRICES["vcpus"][database["instance_class"]]
        costs["RDS Proxy"] = max(2, vcpus) * hourly("proxy_vcpu") * HOURS
    backup = max(0, load["database_gib"] * (1 + database["backup_retention_days"] / 30) - database["storage_gib"])
    if settings.get("copy_region"):
        backup += load["database_gib"] * 1.5
    costs["Backups"] = backup * month["backup_gib"]
    costs["ElastiCache"] = cache["shards"] * (1 + cache["replicas_per_shard"]) * hourly(cache["node_type"]) * HOURS
    shards = stream["shards"]
    kinesis = shards * hourly("kinesis_shard") * HOURS
    if stream["retention_hours"] > 24:
        kinesis += shards * hourly("kinesis_extended_shard") * HOURS
    kinesis += load["records_s"] * seconds / 1e6 * million["kinesis_put_units"]
    costs["Kinesis"] = kinesis
    if warehouse["kind"] == "nodes":
        costs["Redshift"] = warehouse["nodes"] * hourly(warehouse["node_type"]) * HOURS + load["archive_gib"] * month["redshift_storage_gib"]
    elif warehouse["kind"] == "serverless":
        costs["Redshift"] = warehouse["base_rpu"] * load["rpu_hours_a_day"] * 30.4 * hourly("redshift_rpu") + load["archive_gib"] * month["redshift_storage_gib"]
    # Flush runs all the time; ingest by batches of up to 500 records or a second; query by requests.
    gib_seconds = 0.5 * seconds + 0.5 * min(shards, load["records_s"]) * seconds * 0.05 + 0.5 * load["requests_s"] * seconds * 0.02
    requests = min(shards, load["records_s"]) * seconds + load["requests_s"] * seconds
    costs["Lambda"] = gib_seconds * PRICES["lambda_gib_second_arm64"] + requests / 1e6 * million["lambda_requests"]
    costs["HTTP API"] = load["requests_s"] * seconds / 1e6 * million["http_api_requests"]
    costs["DynamoDB"] = shards * seconds / 1e6 * million["dynamodb_reads"]
    costs["S3"] = load["archive_gib"] * month["s3_ia_gib"]
    zones = len(default("network", "endpoints")) * settings["zones"]
    if settings["operator_host"]:
        # Its endpoints are in one zone, as it is.
        zones += len(default("network", "session_endpoints"))
        costs["Operators' host"] = (hourly(default("operators", "instance_type")) * HOURS
                                    + default("operators", "storage_gib") * month["ebs_gp3_gib"])
    costs["Endpoints of the network"] = zones * hourly("endpoint_zone") * HOURS
    costs["Logs, metrics, alarms"] = (
        load["logs_gib"] * month["logs_gib"] + METRICS * month["metric"] + ALARMS_AT_LEAST * month["alarm"] + month["dashboard"]
    )
    costs["Keys and secrets"] = month["kms_key"] + SECRETS * month["secret"]
    return {name: cost for name, cost in costs.items() if cost >= 0.005}


def read(path):
    return {k.strip('"'): value(v) for k, v in hcl2.loads(path.read_text()).items() if not k.startswith("__")}


columns = {}
for path in sorted((ROOT / "infra/environments").glob("*.tfvars")):
    settings = read(path)
    columns[path.stem] = estimate(settings)
    total = sum(columns[path.stem].values())
    if total > settings["budget_usd"]:
        sys.exit(f"{path.name}: budget_usd is {settings['budget_usd']}, the estimate {total:.0f}")
# The larger of the seeds' sizings: db.r6g.8xlarge with three replicas.
large = read(ROOT / "infra/environments/prod.tfvars")
large["database"] |= {"instance_class": "db.r6g.8xlarge", "replica_instance_class": "db.r6g.8xlarge", "replicas": 3}
large["cache"] |= {"node_type": "cache.r6g.2xlarge"}
columns["prod, the larger"] = estimate(large)

order = ["dev", "staging", "prod", "prod-aurora", "prod, the larger"]
lines = [
    "# What it costs",
    "",
    f"US dollars a month in {PRICES['region']}, on demand, without tax. Made by `scripts/estimate_cost.py` from",
    "`infra/environments/*.tfvars` and the prices and assumed load of `infra/prices.json`",
    f"(prices as of {PRICES['date']}; the file says where they come from and how far to trust them).",
    "",
    "| | " + " | ".join(order) + " |",
    "|---|" + "---:|" * len(order),
]
names = list(dict.fromkeys(name for column in order for name in columns[column]))
for name in sorted(names, key=lambda n: -columns["prod"].get(n, 0)):
    cells = [f"{columns[c][name]:,.0f}" if name in columns[c] else "" for c in order]
    lines.append(f"| {name} | " + " | ".join(cells) + " |")
lines.append("| **Sum** | " + " | ".join(f"**{sum(columns[c].values()):,.0f}**" for c in order) + " |")
lines += [
    "",
    "The seeds name about 9,200 (their README) and 12,000 (their solution, with Kafka) for production. The sum",
    "here is higher because Multi-AZ doubles the primary and Redshift's ra3.4xlarge nodes are counted at their",
    "price. What moves it most:",
    "",
    "- **Redshift**: three ra3.4xlarge are the sizing of the seeds' README (their solution has four). Serverless (`kind = \"serverless\"`) costs by the hour of use.",
    "- **Reserved instances** of RDS, ElastiCache and Redshift: about 35 % off for one year, 55 to 60 % for three.",
    "- **dev by day only**: `aws rds stop-db-instance` at night saves about 40 % of its largest part.",
    "- **The larger sizing** (db.r6g.8xlarge, three replicas, cache.r6g.2xlarge) is for when measurements ask for it.",
    "",
    "`budget_usd` of each environment is above its sum; AWS Budgets tells at 80 % of it, and when the forecast passes it.",
]
text = "\n".join(lines) + "\n"
page = ROOT / "docs/cost.md"
if "--check" in sys.argv:
    if not page.exists() or page.read_text() != text:
        sys.exit("docs/cost.md is not up to date: run scripts/estimate_cost.py")
else:
    page.write_text(text)
print("; ".join(f"{c}: {sum(columns[c].values()):,.0f} USD" for c in order))
