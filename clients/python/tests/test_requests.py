"""What is asked, as it goes over the wire; and what is refused before it does."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ENTITY, FRESHNESS, Caller

import eaves
from eaves import Filter, at_least, attr
from eaves._core import Name, Request
from eaves.values import parse_json, write_json

names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40
) | st.sampled_from(["search", "...", "hall-3/pump", "%2F", "a b"])


@given(names.filter(lambda n: n not in (".", "..")))
def test_a_name_survives_one_decoding_before_the_path_is_split(name: str) -> None:
    target = Request("GET", ("v1", "entities", Name(name), "history", Name(name))).target()
    # What httpx makes of it, what API Gateway makes of that, and what the function makes of that.
    raw = httpx.URL("http://x" + target).raw_path.decode()
    assert raw == target
    parts = unquote(raw).split("/")
    assert len(parts) == 6
    assert [unquote(p) for p in parts[3:]] == [name, "history", name]
    assert parts[3] != "search"


def search(filter: Any = None, **settings: Any) -> Any:
    answer = {"entities": [ENTITY], "next_cursor": None, "metadata": {"freshness": FRESHNESS}}
    caller = Caller("sync", lambda _: httpx.Response(200, json=answer))
    assert [e.external_id for e in caller("search", filter, **settings)] == ["pump-7"]
    return parse_json(caller.requests[0].content)


def test_conditions_are_built_with_operators() -> None:
    built = (attr("status") == "online") & ((attr("t") > 70) | ~attr("region").isin(["eu", "us"]))
    assert search(built) == {
        "filter": {
            "and": [
                {"attribute": "status", "eq": "online"},
                {"or": [{"attribute": "t", "gt": 70}, {"not": {"attribute": "region", "in": ["eu", "us"]}}]},
            ]
        },
        "limit": 100,
    }
    assert search({"attribute": "status", "eq": "online"}, type="pump", fields=("t",), page_size=7) == {
        "filter": {"attribute": "status", "eq": "online"},
        "type": "pump",
        "fields": ["t"],
        "limit": 7,
    }
    assert search() == {"limit": 100}


@pytest.mark.parametrize(
    ("built", "json"),
    [
        (attr("a") != 1, {"not": {"attribute": "a", "eq": 1}}),
        (~(attr("a") != 1), {"attribute": "a", "eq": 1}),
        (attr("a") >= 1, {"attribute": "a", "gte": 1}),
        (attr("a") < 1, {"attribute": "a", "lt": 1}),
        (attr("a").between(1, 2), {"attribute": "a", "gte": 1, "lte": 2}),
        (eval("1 < x", {"x": attr("a")}), {"attribute": "a", "gt": 1}),
        (attr("a").exists(), {"attribute": "a", "exists": True}),
        (
            ~at_least(1, attr("a") > 1),
            {"not": {"at_least": {"k": 1, "of": [{"attribute": "a", "gt": 1}]}}},
        ),
        (
            (attr("a") <= 1) & (attr("b") <= 2) & (attr("c") <= 3),
            {"and": [{"attribute": n, "lte": i} for n, i in (("a", 1), ("b", 2), ("c", 3))]},
        ),
    ],
)
def test_every_comparison(built: Filter, json: dict[str, Any]) -> None:
    assert built.to_dict() == json
    assert built == Filter(json)
    assert repr(json) in repr(built)


def test_values_in_conditions_keep_all_digits() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    text = write_json(
        (attr("d") > Decimal("12.300000000000000000001")).to_dict() | {"lt": 2**63 - 1, "gte": noon}, "filter"
    )
    assert text == (
        '{"attribute":"d","gt":12.300000000000000000001,"lt":9223372036854775807,"gte":"2026-03-01T12:00:00Z"}'
    )


def test_a_condition_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError, match="between"):
        _ = 1 < attr("a") < 2
    with pytest.raises(TypeError, match="join with &"):
        _ = (attr("a") > 1) and (attr("b") > 1)
    with pytest.raises(TypeError):
        _ = (attr("a") > 1) & True  # type: ignore[operator]


Ask = Callable[[eaves.Client], object]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda c: c.get_entity(""), "entity_id"),
        (lambda c: c.get_entity("x" * 256), "entity_id"),
        (lambda c: c.get_entity("a\nb"), "entity_id"),
        (lambda c: c.get_entity(7), "entity_id"),
        (lambda c: c.get_entity(".."), "entity_id"),
        (lambda c: c.history("x", "."), "attribute"),
        (lambda c: c.get_entity("\ud800"), "entity_id"),
        (lambda c: c.get_entity("x", consistency="weak"), "consistency"),
        (lambda c: c.get_entity("x", purpose="fun"), "purpose"),
        (lambda c: c.get_entity("x", max_staleness=-1), "max_staleness"),
        (lambda c: c.get_entity("x", max_staleness=math.nan), "max_staleness"),
        (lambda c: c.get_entity("x", max_staleness=timedelta(days=2)), "max_staleness"),
        (lambda c: c.get_entity("x", max_staleness="2s"), "max_staleness"),
        (lambda c: c.get_entity("x", token=""), "token"),
        (lambda c: c.get_entity("x", wait=1), "wait"),
        (lambda c: c.get_entity("x", token="t", wait=11), "wait"),
        (lambda c: c.history("x", "y", start=datetime(2026, 3, 1)), "start"),  # noqa: DTZ001
        (lambda c: c.history("x", "y", end="2026-03-01T12:00:00"), "end"),
        (lambda c: c.history("x", "y", start="2026-03-02T00:00:00Z", end="2026-03-01T00:00:00Z"), "start"),
        (lambda c: c.history("x", "y", start=1772366400), "start"),
        (lambda c: c.history("x", "y", order="up"), "order"),
        (lambda c: c.history("x", "y", limit=0), "limit"),
        (lambda c: c.history("x", "y", page_size=10_001), "page_size"),
        (lambda c: c.search("status=online"), "filter"),
        (lambda c: c.search(attr("x") > math.inf), "body.filter.gt"),
        (lambda c: c.search(attr("x").isin(c)), "x in"),
        (lambda c: c.search(attr("x").isin("abc")), "x in"),
        (lambda c: c.search(fields="temperature"), "fields"),
        (lambda c: c.search(fields=["a", "b", "a"]), "fields"),
        (lambda c: c.search(fields=[f"a{i}" for i in range(1001)]), "fields"),
        (lambda c: c.search(sort="temperature"), "sort"),
        (lambda c: c.search(sort=attr("temperature") > 1), "sort"),
        (lambda c: c.search(order="up"), "order"),
        (lambda c: c.search(on_expensive="run"), "on_expensive"),
        (lambda c: c.search(cold_within="yesterday"), "cold_within"),
        (lambda c: c.search(cold_within=timedelta(seconds=1.5)), "cold_within"),
        (lambda c: c.search(cold_within=timedelta(days=367)), "cold_within"),
        (lambda c: c.search(cold_within="999999999999d"), "cold_within"),
        (lambda c: c.search(cold_within=60), "cold_within"),
        (lambda c: c.search(type=7), "type"),
        (lambda c: c.search(at_least(3, attr("x") > 1, attr("y") > 1)), "at_least"),
        (lambda c: c.search(at_least(0, attr("x") > 1)), "at_least"),
        (lambda c: c.search(at_least(1)), "at_least"),
        (lambda c: c.search(at_least(1, True)), "at_least"),  # type: ignore[arg-type]
        (lambda c: c.list_entities(fields=["a,b"]), "fields"),
        (lambda c: c.list_entities(fields=["\ud800"]), "fields"),
        (lambda c: c.list_entities(fields=[f"a{i}" for i in range(101)]), "fields"),
        (lambda c: c.list_entities(type="a\nb"), "type"),
        (lambda c: c.list_entities(page_size=501), "page_size"),
        (lambda c: c.get_entities("x"), "entity_ids"),
        (lambda c: c.get_entities(7), "entity_ids"),
        (lambda c: c.get_entities([]), "entity_ids"),
        (lambda c: c.get_entities(["x", "y", "x"]), "entity_ids"),
        (lambda c: c.get_entities(["x", ""]), "entity_ids"),
        (lambda c: c.get_entities(["x"], page_size=101), "page_size"),
        (lambda c: c.histories("x", "y"), "attributes"),
        (lambda c: c.histories("x", []), "attributes"),
        (lambda c: c.histories("x", ["a,b"]), "attributes"),
        (lambda c: c.histories("x", [f"a{i}" for i in range(51)]), "attributes"),
        (lambda c: c.histories("x", ["y"], order="up"), "order"),
        (lambda c: c.buckets("x", ["y"], "5"), "bucket"),
        (lambda c: c.buckets("x", ["y"], "0s"), "bucket"),
        (lambda c: c.buckets("x", ["y"], "31d", start=timedelta(days=62)), "bucket"),
        (lambda c: c.buckets("x", ["y"], "5m", aggregates=["p50"]), "aggregates"),
        (lambda c: c.buckets("x", ["y"], "5m", aggregates=[]), "aggregates"),
        (lambda c: c.buckets("x", ["y"], "5m", start="2026-03-01"), "start"),
        (lambda c: c.buckets("x", ["y"], "5m", on_expensive=True), "on_expensive"),
        (lambda c: c.latest("x", ["y"], before="noon"), "before"),
        (lambda c: c.latest("x", ["y", "y"]), "attributes"),
        (lambda c: c.aggregate([]), "attributes"),
        (lambda c: c.aggregate(["y"], group_by="type"), "group_by"),
        (lambda c: c.aggregate(["y"], aggregates=["median"]), "aggregates"),
        (lambda c: c.aggregate(["y"], min_count=0), "min_count"),
        (lambda c: c.aggregate(["y"], consistency="strong"), "consistency"),
        (lambda c: c.aggregate(["y"], start=timedelta(hours=1), end=timedelta(hours=2)), "start"),
        (lambda c: c.distribution("y", buckets=201), "buckets"),
        (lambda c: c.distribution("y", top=True), "top"),
        (lambda c: c.distribution("y", top=1, buckets=1), "top"),
        (lambda c: c.distribution("y", consistency=eaves.Consistency.STRONG), "consistency"),
        (lambda c: c.update_tenant(), "body"),
        (lambda c: c.update_tenant(strict="yes"), "strict"),
        (lambda c: c.update_tenant(point_policy="keep"), "point_policy"),
        (lambda c: c.update_tenant(late="30d"), "late"),
        (lambda c: c.update_tenant(ahead=timedelta(days=1)), "ahead"),
        (lambda c: c.update_tenant(default_window_days=367), "default_window_days"),
        (lambda c: c.pin_attribute("x", "warm"), "pin"),
        (lambda c: c.promote_attribute("x", reason="x" * 1001), "reason"),
        (lambda c: c.unpin_attribute("x", reason=None), "reason"),
        (lambda c: c.demote_attribute(".."), "attribute"),
        (lambda c: c.hot_changes(attribute=""), "attribute"),
        (lambda c: c.list_hot_decisions(page_size=501), "page_size"),
        (lambda c: c.update_attribute("x"), "body"),
        (lambda c: c.update_attribute("x", unit="x" * 65), "unit"),
        (lambda c: c.update_attribute("x", unit=7), "unit"),
        (lambda c: c.update_attribute("x", description="a\tb"), "description"),
        (lambda c: c.search(page_size=501), "page_size"),
        (lambda c: c.list_quarantine(state="closed"), "state"),
        (lambda c: c.list_quarantine(since=datetime(2026, 3, 1)), "since"),  # noqa: DTZ001
        (lambda c: c.get_quarantined(0), "id"),
        (lambda c: c.redrive_matching(kind="all"), "kind"),
        (lambda c: c.redrive_matching(limit=101), "page_size"),
        (lambda c: c.drop_quarantined(1, None), "why"),
        (lambda c: c.send([], batch_size=0), "batch_size"),
    ],
)
def test_bad_input_is_refused_by_name_and_not_sent(ask: Callable[[Any], object], field: str) -> None:
    def nothing(_: httpx.Request) -> httpx.Response:
        raise AssertionError("something was sent")

    with (
        eaves.Client("http://x", "t", transport=httpx.MockTransport(nothing)) as client,
        pytest.raises(eaves.BadInput) as refused,
    ):
        ask(client)
    assert refused.value.field == field
    assert isinstance(refused.value, ValueError)
    assert str(refused.value).startswith(f"{field}: ")


def test_the_other_questions() -> None:
    item = {
        "id": 17,
        "kind": "value",
        "state": "open",
        "reason": "type_mismatch",
        "field": "values.t",
        "message": "m",
        "pieces": 1,
        "plugin_digest": None,
        "shard": "s",
        "sequence": "1",
        "sub": 0,
        "created_at": "2026-03-01T12:00:00Z",
        "attempts": 0,
        "redrive_of": None,
        "changed_at": None,
        "changed_by": None,
        "changed_why": None,
        "settled_at": None,
        "taken_again": None,
        "refused_again": None,
        "of_a_newer_platform": {},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/quarantine"):
            return httpx.Response(200, json={"items": [item], "next_cursor": None})
        if path.endswith("/17"):
            return httpx.Response(200, content=_row(item))
        return httpx.Response(200, json={"id": 17, "state": "dropped"})

    caller = Caller("sync", answer)
    (row,) = caller("list_quarantine", state="open", since=datetime(2026, 3, 1, tzinfo=timezone.utc))
    assert (row.id, row.reason, row.created_at.year) == (17, "type_mismatch", 2026)
    assert str(caller.requests[-1].url.query, "ascii") == "state=open&since=2026-03-01T00%3A00%3A00Z&limit=50"
    held = caller("get_quarantined", 17)
    assert held.payload == {"values": {"t": Decimal("12.30")}}
    assert str(held.payload["values"]["t"]) == "12.30"
    assert caller("drop_quarantined", 17, "a test device") is None
    assert parse_json(caller.requests[-1].content) == {"why": "a test device"}


def _row(item: dict[str, Any]) -> str:
    return (
        f'{{"item": {write_json(item, "")}, "payload": {{"values": {{"t": 12.30}}}}, "payload_base64": null}}'
    )


def test_the_description_is_json_as_others_know_it() -> None:
    described = {"openapi": "3.1.0", "example": 72.5}
    caller = Caller("sync", lambda _: httpx.Response(200, json=described), token=None)
    found = caller("openapi")
    assert found == described
    assert type(found["example"]) is float
    assert caller.requests[0].url.path == "/api/openapi.json"
    assert "authorization" not in caller.requests[0].headers


def test_bytes_that_are_no_json_come_back_as_bytes() -> None:
    item: dict[str, Any] = {"item": None, "payload": None, "payload_base64": "//4="}
    with pytest.raises(eaves.ProtocolError, match="item"):
        Caller("sync", lambda _: httpx.Response(200, json=item))("get_quarantined", 17)
    from eaves.models import Quarantined

    with pytest.raises(ValueError, match="payload_base64"):
        Quarantined._of({"item": None, "payload": None, "payload_base64": "%"})
