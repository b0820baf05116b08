"""What is asked of entities, figures and settings, and what becomes of the answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx
import pytest
from support import ENTITY, FRESHNESS, Caller, bodies, problem

import eaves
from eaves import at_least, attr
from eaves.values import parse_json

both = pytest.mark.parametrize("kind", ["sync", "async"])
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
METADATA = {"freshness": FRESHNESS}
COVERED = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z", "freshness": FRESHNESS}


def target(caller: Caller, number: int = -1) -> str:
    """Method, path and parameters of a request."""
    request = caller.requests[number]
    return f"{request.method} {request.url.raw_path.decode().removeprefix('/api')}"


@both
def test_entities_are_listed_page_by_page(kind: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        more = None if "cursor" in request.url.params else "next"
        return httpx.Response(200, json={"entities": [ENTITY], "next_cursor": more, "metadata": METADATA})

    caller = Caller(kind, answer)
    found = caller(
        "list_entities",
        type="pump",
        fields=["temperature", "a b"],
        cold_within="24h",
        page_size=1,
        purpose="dashboard",
    )
    assert [e["temperature"] for e in found] == [72.5, 72.5]
    common = "purpose=dashboard&type=pump&fields=temperature%2Ca%20b&cold_within=86400s"
    assert target(caller, 0) == f"GET /v1/entities?limit=1&{common}"
    assert target(caller, 1) == f"GET /v1/entities?limit=1&cursor=next&{common}"


def test_no_fields_and_no_type_are_sent_as_such() -> None:
    answer: dict[str, Any] = {"entities": [], "next_cursor": None, "metadata": METADATA}
    caller = Caller("sync", lambda _: httpx.Response(200, json=answer))
    assert caller("list_entities", type="", fields=[]) == []
    assert target(caller) == "GET /v1/entities?limit=100&type=&fields="
    assert caller("list_entities") == []
    assert target(caller) == "GET /v1/entities?limit=100"
    assert caller("search", type="", fields=()) == []
    assert parse_json(caller.requests[-1].content) == {"type": "", "fields": [], "limit": 100}


class Register:
    """Entities of which every seventh is not there."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        items = []
        for name in parse_json(request.content)["external_ids"]:
            item: dict[str, Any] = {"external_id": name}
            if int(name.removeprefix("p-")) % 7:
                item["entity"] = {**ENTITY, "external_id": name}
            else:
                item["reason"] = {"code": "not_found", "message": f"no entity {name} is registered"}
            items.append(item)
        return httpx.Response(200, json={"items": items, "metadata": METADATA})


@both
def test_any_number_of_entities_is_asked_for_in_batches(kind: str) -> None:
    names = [f"p-{i}" for i in range(250)]
    caller = Caller(kind, Register())
    items = caller("get_entities", iter(names), fields=["temperature"], consistency="strong")
    assert [i.external_id for i in items] == names
    assert [len(body["external_ids"]) for body in bodies(caller)] == [100, 100, 50]
    assert all(body["fields"] == ["temperature"] for body in bodies(caller))
    assert target(caller) == "POST /v1/entities/batch?consistency=strong"
    for i, item in enumerate(items):
        if i % 7:
            assert (item.entity["temperature"], item.reason) == (72.5, None)
            assert item.entity.metadata.source is eaves.Source.CACHE
        else:
            assert (item.entity, item.reason.code) == (None, "not_found")


def test_a_frame_of_a_batch_has_a_row_for_each_name() -> None:
    with eaves.Client("http://x", "t", transport=httpx.MockTransport(Register())) as client:
        pages = client.get_entities(["p-6", "p-7", "p-8"], page_size=2)
        assert [len(page.items) for page in pages.pages()] == [2, 1]
        frame = pages.to_frame()
    assert list(frame.index) == ["p-6", "p-7", "p-8"]
    assert frame["temperature"].isna().tolist() == [False, True, False]
    assert frame.attrs == {"lag_seconds": 0.25}


def test_all_that_a_search_takes() -> None:
    answer = {"entities": [ENTITY], "next_cursor": None, "metadata": METADATA}
    caller = Caller("sync", lambda _: httpx.Response(200, json=answer))
    two = at_least(2, attr("status") == "fault", attr("region") == "us", attr("serial").exists())
    caller(
        "search",
        two,
        cold_within=timedelta(days=2),
        sort=attr("temperature"),
        order="desc",
        on_expensive="analytics",
        max_staleness=30,
    )
    assert bodies(caller)[-1] == {
        "filter": {
            "at_least": {
                "k": 2,
                "of": [
                    {"attribute": "status", "eq": "fault"},
                    {"attribute": "region", "eq": "us"},
                    {"attribute": "serial", "exists": True},
                ],
            }
        },
        "cold_within": "172800s",
        "sort": {"attribute": "temperature", "order": "desc"},
        "limit": 100,
    }
    assert target(caller) == "POST /v1/entities/search?max_staleness=30s&on_expensive=analytics"
    caller("search", sort="external_id")
    assert bodies(caller)[-1]["sort"] == {"by": "external_id", "order": "asc"}
    caller("search", order="desc")
    assert bodies(caller)[-1]["sort"] == {"order": "desc"}


def test_a_search_that_costs_too_much_is_told_as_such() -> None:
    estimate = {"rows": 48e6, "cost": 2.4e6, "limit": 1e6}
    caller = Caller("sync", lambda _: problem(400, "too-expensive", field="filter", estimate=estimate))
    with pytest.raises(eaves.BadRequest) as told:
        caller("search", on_expensive="refuse")
    assert (told.value.problem.kind, told.value.field) == ("too-expensive", "filter")
    assert told.value.problem.estimate == eaves.Estimate(rows=48e6, cost=2.4e6, limit=1e6)
    assert len(caller.requests) == 1


@both
def test_latest_values_before_a_time(kind: str) -> None:
    value = {"value": 72.5, "type": "float", "unit": "°C", "observed_at": "2026-03-01T11:00:00Z"}
    answer = {
        "external_id": "hall-3/pump",
        "before": "2026-03-01T12:00:00Z",
        "attributes": {"temperature": value},
        "without": ["serial"],
        "metadata": METADATA,
    }
    caller = Caller(kind, lambda _: httpx.Response(200, json=answer))
    found = caller("latest", "hall-3/pump", ["temperature", "serial"], before=NOON, consistency="strong")
    assert target(caller) == (
        "GET /v1/entities/hall-3%252Fpump/latest"
        "?attributes=temperature%2Cserial&before=2026-03-01T12%3A00%3A00Z&consistency=strong"
    )
    assert (found["temperature"], found.values()) == (72.5, {"temperature": 72.5})
    assert (found.before, found.without) == (NOON, ("serial",))
    assert "serial" not in found
    assert found.get("serial", 7) == 7
    assert found.attributes["temperature"].observed_at == NOON - timedelta(hours=1)


FIGURES = """{"groups": [
  {"attribute": "count", "type": "integer", "unit": "", "entity_type": "pump", "figures":
    {"avg": 2, "count": 3, "entities": 2, "max": 9223372036854775807, "sum": 27670116110564327421}},
  {"attribute": "temperature", "type": "float", "unit": "°C", "entity_type": "", "figures":
    {"avg": 71, "count": 3, "entities": 2, "max": 100, "sum": 213}},
  {"attribute": "energy", "type": "decimal", "unit": "", "entity_type": "pump", "figures":
    {"avg": 1.50, "count": 3, "entities": 2, "max": 12.30, "sum": 14}},
  {"attribute": "status", "type": "string", "unit": "", "entity_type": "pump", "figures":
    {"avg": null, "count": 3, "entities": 2, "max": null, "sum": null}}
], "metadata": %s}"""


@both
def test_figures_have_the_attributes_type(kind: str) -> None:
    body = FIGURES % json.dumps(COVERED)
    caller = Caller(kind, lambda _: httpx.Response(200, content=body.encode()))
    names = ["count", "temperature", "energy", "status"]
    found = caller(
        "aggregate",
        names,
        start=NOON - timedelta(days=1),
        end=NOON,
        type="pump",
        group_by="entity_type",
        aggregates=["count", "avg"],
        min_count=3,
        on_expensive="analytics",
        consistency="eventual",
    )
    assert target(caller) == "POST /v1/aggregates?consistency=eventual&on_expensive=analytics"
    assert bodies(caller)[-1] == {
        "attributes": names,
        "from": "2026-02-28T12:00:00Z",
        "to": "2026-03-01T12:00:00Z",
        "type": "pump",
        "group_by": "entity_type",
        "aggregates": ["count", "avg"],
        "min_count": 3,
    }
    count, temperature, energy, status = found.groups
    for group, kinds in (
        (count, (Decimal, int)),
        (temperature, (float, float)),
        (energy, (Decimal, Decimal)),
    ):
        assert (type(group["avg"]), type(group["max"])) == kinds
        assert (type(group["count"]), type(group["entities"])) == (int, int)
    assert count["sum"] == 3 * (2**63 - 1)
    assert str(energy["max"]) == "12.30"
    assert status.figures == {"avg": None, "count": 3, "entities": 2, "max": None, "sum": None}
    assert (temperature.unit, temperature.entity_type) == ("°C", "")
    assert (found.start, found.end) == (NOON - timedelta(hours=12), NOON + timedelta(hours=12))
    frame = found.to_frame()
    assert frame.loc[("count", "pump"), "max"] == 2**63 - 1
    assert frame["count"].tolist() == [3, 3, 3, 3]
    assert {n: str(t) for n, t in frame.dtypes.items()} == {
        "type": "string",
        "unit": "string",
        "avg": "object",
        "count": "Int64",
        "entities": "Int64",
        "max": "object",
        "sum": "object",
    }


def test_figures_of_nothing_are_an_empty_frame() -> None:
    caller = Caller("sync", lambda _: httpx.Response(200, json={"groups": [], "metadata": COVERED}))
    found = caller("aggregate", ["t"])
    assert bodies(caller)[-1] == {"attributes": ["t"]}
    assert found.groups == ()
    assert found.to_frame().empty


@both
def test_a_distribution_is_a_histogram_of_numbers(kind: str) -> None:
    histogram = {
        "attribute": "count",
        "type": "integer",
        "unit": "",
        "count": 3,
        "buckets": [{"from": 1, "to": 1.5, "count": 1}, {"from": 1.5, "to": 2, "count": 2}],
        "metadata": COVERED,
    }
    caller = Caller(kind, lambda _: httpx.Response(200, json=histogram))
    found = caller("distribution", "count", buckets=2, type="pump", start="2026-03-01T00:00:00Z")
    assert target(caller) == (
        "GET /v1/attributes/count/distribution?from=2026-03-01T00%3A00%3A00Z&type=pump&buckets=2"
    )
    assert [(b.low, b.high, b.count) for b in found.buckets] == [
        (Decimal(1), Decimal("1.5"), 1),
        (Decimal("1.5"), Decimal(2), 2),
    ]
    assert all(type(b.low) is Decimal for b in found.buckets)
    assert (found.count, found.top, found.distinct) == (3, None, None)
    frame = found.to_frame()
    assert frame["low"].tolist() == [Decimal(1), Decimal("1.5")]
    assert frame["count"].tolist() == [1, 2]
    assert frame.attrs["attribute"] == "count"


def test_a_distribution_is_the_most_frequent_of_all_else() -> None:
    top = {
        "attribute": "serviced",
        "type": "timestamp",
        "unit": "",
        "count": 4,
        "top": [{"value": "2026-03-01T12:00:00Z", "count": 3}],
        "distinct": 2,
        "metadata": COVERED,
    }
    caller = Caller("sync", lambda _: httpx.Response(200, json=top))
    found = caller("distribution", "serviced", top=1, on_expensive="refuse")
    assert target(caller) == "GET /v1/attributes/serviced/distribution?top=1&on_expensive=refuse"
    assert [(v.value, v.count) for v in found.top] == [(NOON, 3)]
    assert (found.count, found.buckets, found.distinct) == (4, None, 2)
    assert str(found.to_frame()["value"].dtype) == "datetime64[us, UTC]"


TENANT = {
    "name": "acme",
    "strict": False,
    "point_policy": "replace",
    "late": "30d:quarantine",
    "ahead": None,
    "hot_limit": 20,
    "default_window_days": 7,
    "longest_window_days": 30,
}


@both
def test_settings_are_changed_as_far_as_they_are_given(kind: str) -> None:
    answers = iter(
        [httpx.Response(503), *(httpx.Response(200, json={"tenant": TENANT, "metadata": METADATA}),) * 4]
    )
    caller = Caller(kind, lambda _: next(answers))
    tenant = caller("get_tenant", consistency="strong")
    assert target(caller) == "GET /v1/tenant?consistency=strong"
    assert (tenant.name, tenant.late, tenant.ahead, tenant.hot_limit) == ("acme", "30d:quarantine", None, 20)
    assert tenant.metadata.lag_seconds == 0.25
    caller("update_tenant", late=None)
    caller("update_tenant", ahead="10m:reject", strict=False)
    caller("update_tenant", point_policy="correction", default_window_days=2, late="500ms:accept")
    assert target(caller) == "PATCH /v1/tenant"
    assert caller.requests[-1].headers["content-type"] == "application/json"
    assert [parse_json(r.content) for r in caller.requests[2:]] == [
        {"late": None},
        {"strict": False, "ahead": "10m:reject"},
        {"point_policy": "correction", "late": "500ms:accept", "default_window_days": 2},
    ]


@both
def test_an_attribute_is_described(kind: str) -> None:
    attribute = {
        "name": "a/b",
        "type": "float",
        "unit": "°C",
        "description": "At the bearing",
        "hot": False,
        "filling": True,
        "pin": "hot",
        "created_at": "2026-03-01T12:00:00Z",
        "window_seconds": 5,
        "writes": {
            "values": 7,
            "per_second": 1.5,
            "value_bytes": None,
            "change_ratio": None,
            "entities": 1,
            "distinct_values": 2,
            "last_at": None,
        },
        "queries": {"count": 0, "filters": 0, "returns": 0, "mean_ms": None},
        "last_day": None,
    }
    # What does the same twice is sent again.
    answers = iter(
        [httpx.Response(503), httpx.Response(200, json={"attribute": attribute, "metadata": METADATA})]
    )
    caller = Caller(kind, lambda _: next(answers))
    found = caller("update_attribute", "a/b", unit="°C", description="")
    assert target(caller) == "PATCH /v1/attributes/a%252Fb"
    assert bodies(caller) == [{"unit": "°C", "description": ""}] * 2
    assert (found.description, found.filling, found.pin, found.unit) == ("At the bearing", True, "hot", "°C")


@both
def test_what_is_hot_is_decided(kind: str) -> None:
    state = {"attribute": "serial", "state": "filling"}
    caller = Caller(kind, lambda _: httpx.Response(200, json=state))
    found = caller("promote_attribute", "serial", reason="searched by support")
    assert (found.attribute, found.state) == ("serial", "filling")
    assert target(caller) == "POST /v1/attributes/serial/promote"
    caller("demote_attribute", "serial")
    caller("pin_attribute", "serial", "cold", reason="never")
    assert [r.method for r in caller.requests] == ["POST", "POST", "PUT"]
    assert bodies(caller) == [{"reason": "searched by support"}, {}, {"pin": "cold", "reason": "never"}]
    caller("unpin_attribute", "a/b", reason="it is asked for")
    assert target(caller) == "DELETE /v1/attributes/a%252Fb/pin?reason=it%20is%20asked%20for"
    assert caller.requests[-1].content == b""


def test_what_was_decided_can_be_looked_at() -> None:
    plugin = {"name": "promoter", "version": "1.0.0", "digest": "ab"}
    decision = {
        "attribute": "serial",
        "change": "promote",
        "decided_at": "2026-03-01T12:00:00Z",
        "rule": "plugin",
        "by": "plugin promoter",
        "plugin": plugin,
        "code": "asked_for",
        "reason": "asked for",
        "statistics": {"queries": 7},
    }
    last_run = {
        "at": "2026-03-01T12:00:00Z",
        "rule": "plugin",
        "plugin": plugin,
        "attributes": 7,
        "changes": 1,
        "held": [],
        "failure": None,
        "failures": 0,
    }

    def answer(request: httpx.Request) -> httpx.Response:
        more = None if "cursor" in request.url.params else "17"
        page = {"decisions": [decision], "next_cursor": more, "last_run": last_run, "metadata": METADATA}
        return httpx.Response(200, json=page)

    transport = httpx.MockTransport(answer)
    with eaves.Client("http://x", "t", transport=transport) as client:
        listing = client.list_hot_decisions(attribute="serial", page_size=1)
        (first, second) = listing.pages()
        frame = listing.to_frame()
    assert first.last_run is not None
    assert (first.last_run.changes, second.next_cursor) == (1, None)
    (found,) = second.items
    assert (found.attribute, found.decided_at, found.statistics) == ("serial", NOON, {"queries": 7})
    assert found.plugin == eaves.DecidingPlugin("promoter", "1.0.0", "ab")
    assert frame["plugin.name"].tolist() == ["promoter"] * 2
