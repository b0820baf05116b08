#!/usr/bin/env python3
"""Makes ops/dashboards/{cloudwatch,grafana}.json from the metrics of crates/telemetry and the
alarms of ops/alarms.json. With --check it only says whether they are up to date."""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMESPACE = "Eaves"


def metrics():
    """(name, unit, functions) of each metric, in the list's order."""
    text = (ROOT / "crates/telemetry/src/metrics.rs").read_text()
    names = dict(re.findall(r'pub const (\w+): &str = "(\w+)";', text))
    found = []
    block = text[text.index("pub const METRICS"):]
    for const, unit, functions in re.findall(
        r"Metric\s*\{\s*name:\s*(\w+),\s*unit:\s*Unit::(\w+),\s*functions:\s*&\[([^\]]*)\],?\s*\}", block
    ):
        found.append((names[const], unit, re.findall(r'"(\w[\w-]*)"', functions)))
    if not found:
        sys.exit("no metrics found in crates/telemetry/src/metrics.rs")
    return found


def alarms():
    return json.loads((ROOT / "ops/alarms.json").read_text())["alarms"]


def statistic(name, unit):
    if unit == "Milliseconds":
        return "p99"
    return "Maximum" if "backlog" in name or unit == "Bytes" else "Sum"


# Of AWS's own metrics, per panel: title, namespace, metric, dimension, value, statistic. "*" is each
# of the environment's: there may be several, or none. "**" is each of the account's, where nothing in the
# dimension tells environments apart: an API is known by an id that only its stack knows.
OTHERS = [
    ("Iterator age (ms)", "AWS/Lambda", "IteratorAge", {"FunctionName": "eaves-${environment}-ingest"}, "Maximum"),
    ("Functions: errors", "AWS/Lambda", "Errors", {"FunctionName": "*"}, "Sum"),
    ("Functions: throttles", "AWS/Lambda", "Throttles", {"FunctionName": "*"}, "Sum"),
    ("HTTP: 5xx, every API of the account", "AWS/ApiGateway", "5xx", {"ApiId": "**"}, "Sum"),
    ("Query duration (ms)", "AWS/Lambda", "Duration", {"FunctionName": "eaves-${environment}-query"}, "p99"),
    ("Stream: bytes in", "AWS/Kinesis", "IncomingBytes", {"StreamName": "${stream}"}, "Sum"),
    ("Stream: refused writes", "AWS/Kinesis", "WriteProvisionedThroughputExceeded", {"StreamName": "${stream}"}, "Sum"),
    ("Database CPU (%)", "AWS/RDS", "CPUUtilization", {"DBInstanceIdentifier": "${database}"}, "Average"),
    ("Database free storage", "AWS/RDS", "FreeStorageSpace", {"DBInstanceIdentifier": "${database}"}, "Minimum"),
    ("Replica lag (s)", "AWS/RDS", "ReplicaLag", {"DBInstanceIdentifier": "*"}, "Maximum"),
    ("Aurora readers' lag (ms)", "AWS/RDS", "AuroraReplicaLag", {"DBInstanceIdentifier": "*"}, "Maximum"),
    ("Cache CPU (%)", "AWS/ElastiCache", "EngineCPUUtilization", {"CacheClusterId": "*"}, "Average"),
    ("Slot lag (bytes)", "AWS/RDS", "OldestReplicationSlotLag", {"DBInstanceIdentifier": "${database}"}, "Maximum"),
    ("Proxy: pinned sessions", "AWS/RDS", "DatabaseConnectionsCurrentlySessionPinned", {"ProxyName": "${proxy}"}, "Maximum"),
    ("Dead letters", "AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "${dead_letters}"}, "Maximum"),
]


def threshold_of(namespace, metric):
    for name, alarm in alarms().items():
        if (alarm["namespace"], alarm["metric"]) == (namespace, metric) and alarm["statistic"] != "SampleCount":
            return name, alarm["threshold"]
    return None


def of_several(dimensions):
    return bool({"*", "**"} & set(dimensions.values()))


def search(namespace, metric, dimensions, statistic, environment):
    """What finds a metric of everything that has the environment's name in its own, or of everything."""
    named = "" if "**" in dimensions.values() else f" eaves {environment}"
    return (f"SEARCH('{{{namespace},{','.join(dimensions)}}} MetricName=\"{metric}\"{named}', "
            f"'{statistic}', 60)")


def cloudwatch():
    widgets = []

    def add(title, series, stat, threshold):
        at = len(widgets)
        properties = {
            "title": title, "region": "${region}", "view": "timeSeries", "stacked": False,
            "stat": stat, "period": 60, "metrics": series,
        }
        if threshold:
            properties["annotations"] = {"horizontal": [{"label": threshold[0], "value": threshold[1]}]}
        widgets.append({"type": "metric", "x": 8 * (at % 3), "y": 6 * (at // 3), "width": 8, "height": 6,
                        "properties": properties})

    for name, unit, functions in metrics():
        series = [[NAMESPACE, name, "environment", "${environment}", "function", f] for f in functions]
        add(name, series, statistic(name, unit), threshold_of(NAMESPACE, name))
    for title, namespace, metric, dimensions, stat in OTHERS:
        series = [[namespace, metric, *[part for pair in dimensions.items() for part in pair]]]
        if of_several(dimensions):
            series = [[{"expression": search(namespace, metric, dimensions, stat, "${environment}")}]]
        add(title, series, stat, threshold_of(namespace, metric))
    return {"widgets": widgets}


def grafana():
    panels = []

    def add(title, targets, unit, threshold):
        at = len(panels)
        steps = [{"color": "green", "value": None}]
        if threshold:
            steps.append({"color": "red", "value": threshold[1]})
        panels.append({
            "id": at + 1, "type": "timeseries", "title": title,
            "datasource": {"type": "cloudwatch", "uid": "${datasource}"},
            "gridPos": {"x": 8 * (at % 3), "y": 8 * (at // 3), "w": 8, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps},
                                         "custom": {"thresholdsStyle": {"mode": "line" if threshold else "off"}}},
                            "overrides": []},
            "targets": targets,
        })

    def target(ref, namespace, metric, dimensions, stat):
        return {
            "refId": ref, "queryMode": "Metrics", "metricQueryType": 0, "metricEditorMode": 0, "region": "default",
            "namespace": namespace, "metricName": metric, "dimensions": dimensions, "statistic": stat,
            "period": "60", "matchExact": True,
        }

    for name, unit, functions in metrics():
        targets = [
            target(chr(65 + i), NAMESPACE, name, {"environment": "$environment", "function": f}, statistic(name, unit))
            for i, f in enumerate(functions)
        ]
        add(name, targets, {"Milliseconds": "ms", "Bytes": "bytes"}.get(unit, "short"), threshold_of(NAMESPACE, name))
    variables = {"${stream}": "eaves-$environment-telemetry", "${database}": "eaves-$environment-primary",
                 "${proxy}": "eaves-$environment", "${dead_letters}": "eaves-$environment-schedule-dead-letters"}
    for title, namespace, metric, dimensions, stat in OTHERS:
        named = {k: variables.get(v, v).replace("${environment}", "$environment") for k, v in dimensions.items()}
        unit = "bytes" if "bytes" in title or "storage" in title else "short"
        asked = target("A", namespace, metric, named, stat)
        if of_several(dimensions):
            # As an expression: the wildcard of the editor would find other environments, too.
            asked |= {"metricEditorMode": 1, "dimensions": {},
                      "expression": search(namespace, metric, dimensions, stat, "$environment")}
        add(title, [asked], unit, threshold_of(namespace, metric))
    return {
        "uid": "eaves", "title": "Eaves", "tags": ["eaves"], "timezone": "utc", "schemaVersion": 39, "version": 1,
        "refresh": "1m", "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "cloudwatch", "label": "Data source"},
            {"name": "environment", "type": "custom", "query": "prod,staging,dev", "label": "Environment",
             "current": {"text": "prod", "value": "prod"}},
        ]},
        "annotations": {"list": []}, "panels": panels,
    }


stale = []
for name, dashboard in (("cloudwatch", cloudwatch()), ("grafana", grafana())):
    path = ROOT / "ops/dashboards" / f"{name}.json"
    text = json.dumps(dashboard, indent=1) + "\n"
    if "--check" in sys.argv:
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
    else:
        path.write_text(text)
if stale:
    sys.exit(f"dashboards: {', '.join(stale)} not up to date: run scripts/dashboards.py")
print(f"dashboards of {len(metrics())} own metrics and {len(OTHERS)} of AWS")
