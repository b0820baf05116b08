"""Lists, series, figures and settings of a real platform, beside what plain Python makes of what was sent."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pandas as pd
import pytest
from conftest import Platform
from support import until

import eaves
from eaves import Reading, at_least, attr

pytestmark = pytest.mark.platform

Points = list[tuple[datetime, Any]]
#: Where buckets begin.
MONDAY = datetime(2000, 1, 3, tzinfo=timezone.utc)
NOW = datetime.now(timezone.utc).replace(microsecond=0)
#: Of each entity one reading each 7 minutes.
TIMES = [NOW - timedelta(hours=3) + timedelta(minutes=7 * i, microseconds=i) for i in range(20)]
TYPES = ("pump", "valve", "")
DICE = random.Random(7)
SENT: dict[str, dict[datetime, dict[str, Any]]] = {
    f"p-{e}": {
        at: {
            "temperature": round(DICE.uniform(-20, 90), 3),
            "status": DICE.choice(["online", "offline", "fault"]),
            "rpm": DICE.randrange(-(2**40), 2**62),
            "energy": Decimal(DICE.randrange(10**12)).scaleb(-DICE.randrange(4)),
        }
        for at in TIMES
    }
    for e in range(10)
}
COLD = ["rpm", "energy"]
#: Has no values of the others.
SENT["odd"] = {TIMES[5]: {"serial": "A-17"}}


def type_of(entity: str) -> str:
    """What an entity was said to be."""
    return "" if entity == "odd" else TYPES[int(entity.removeprefix("p-")) % 3]


def column(attribute: str, entity: str | None = None, of_type: str | None = None) -> Points:
    """All values of an attribute by time, of one entity or those of a type."""
    return sorted(
        (at, values[attribute])
        for name, readings in SENT.items()
        if entity in (None, name) and of_type in (None, type_of(name))
        for at, values in readings.items()
        if attribute in values
    )


def last(entity: str) -> dict[str, Any]:
    """The latest values of an entity."""
    return {name: value for _, values in sorted(SENT[entity].items()) for name, value in values.items()}


def mean(values: Sequence[Any]) -> Any:
    """As the platform says it: of floats a float, of all else with 16 decimal places or more."""
    if isinstance(values[0], float):
        return pytest.approx(math.fsum(values) / len(values), rel=1e-12)
    exact = sum(map(Fraction, values), Fraction(0)) / len(values)
    with localcontext() as context:
        context.prec = 60
        return pytest.approx(Decimal(exact.numerator) / exact.denominator, rel=0, abs=Decimal("5e-17"))


def nearest_rank(values: Sequence[Any], percent: int) -> Any:
    """The least value that so many percent are not above."""
    return sorted(values)[math.ceil(Fraction(percent, 100) * len(values)) - 1]


def bucketed(points: Points, length: timedelta) -> dict[datetime, dict[str, Any]]:
    """The figures of each bucket, by when it begins."""
    found: dict[datetime, list[Any]] = {}
    for at, value in points:
        found.setdefault(at - (at - MONDAY) % length, []).append(value)
    return {
        start: {
            "count": len(of),
            "min": min(of),
            "max": max(of),
            "avg": mean(of),
            "first": of[0],
            "last": of[-1],
        }
        for start, of in found.items()
    }


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[eaves.Client]:
    # Two attributes are hot: those that come first.
    platform.run("tenant", "create", "reads", "--hot-limit", "2")
    token = platform.token("reads", scope="query:read telemetry:write settings:write")
    with eaves.Client(platform.url, token) as client:
        first = {n: v for n, v in SENT["p-0"][TIMES[0]].items() if n not in COLD}
        token_of = client.send(Reading("p-0", TIMES[0], first, type="pump")).token
        client.get_entity("p-0", token=token_of, wait=10)
        sent = client.send(
            Reading(entity, at, values, type=type_of(entity) or None)
            for entity, readings in SENT.items()
            for at, values in readings.items()
        )
        sent.raise_for_rejections()
        client.get_entity("odd", token=sent.token, wait=10)
        # Figures are made of what is flushed; what the replica has, the primary has, too.
        names = [*COLD, "temperature", "status", "serial"]
        counts = [len(column(n)) for n in names]
        until(lambda: [g["count"] for g in client.aggregate(names, consistency="analytics").groups] == counts)
        yield client


def test_all_entities_are_listed_in_one_order(client: eaves.Client) -> None:
    listed = client.list_entities(page_size=4, consistency="strong")
    assert [len(page.items) for page in listed.pages()] == [4, 4, 3]
    entities = listed.to_list()
    assert {e.external_id: e.type for e in entities} == {name: type_of(name) for name in SENT}
    assert len(entities) == len(SENT)
    hot = {"temperature", "status"}
    assert {e.external_id: e.values() for e in entities} == {
        name: {n: v for n, v in last(name).items() if n in hot} for name in SENT
    }
    again = client.list_entities(consistency="strong", fields=[]).to_list()
    assert [e.external_id for e in again] == [e.external_id for e in entities]
    assert all(e.values() == {} for e in again)
    for of_type in TYPES:
        found = client.list_entities(type=of_type, fields=["rpm", "temperature"], cold_within="5h")
        values = {e.external_id: e.values() for e in found}
        assert values == {
            name: {n: v for n, v in last(name).items() if n in ("rpm", "temperature")}
            for name in SENT
            if type_of(name) == of_type
        }
    assert list(client.list_entities(type="none such", consistency="strong")) == []


def test_entities_by_name(client: eaves.Client) -> None:
    names = ["p-3", "no-such", *sorted(SENT, reverse=True)[:4]]
    assert len(set(names)) == 6
    found = client.get_entities(names, fields=["energy", "status"], page_size=4, consistency="strong")
    items = found.to_list()
    assert [i.external_id for i in items] == names
    for item in items:
        if item.external_id == "no-such":
            assert item.reason is not None
            assert (item.entity, item.reason.code) == (None, "not_found")
        else:
            assert item.entity is not None
            expected = {n: v for n, v in last(item.external_id).items() if n in ("energy", "status")}
            assert item.entity.values() == expected
            assert item.entity.metadata.source is eaves.Source.PRIMARY
    frame = found.to_frame()
    assert list(frame.index) == names
    assert frame["energy"].isna().tolist() == [name in ("no-such", "odd") for name in names]
    # What was looked for in the last seconds only is not found.
    (item,) = client.get_entities(["p-3"], fields=["energy"], cold_within=timedelta(seconds=30))
    assert item.entity is not None
    assert item.entity.values() == {}


def test_a_search_by_anything_in_any_order(client: eaves.Client) -> None:
    def found(condition: eaves.Filter | None = None, **settings: Any) -> list[str]:
        return [e.external_id for e in client.search(condition, page_size=3, **settings)]

    latest = {name: last(name) for name in SENT}
    warm = [n for n in SENT if n != "odd"]
    by_temperature = sorted(warm, key=lambda n: latest[n]["temperature"])
    has = attr("temperature").exists()
    first, *others = client.search(has, page_size=3, count=True, consistency="strong").pages()
    assert (first.total_count, first.total_count_exact) == (len(warm), True)
    assert [page.total_count for page in others] == [None] * len(others)
    assert found(has, sort=attr("temperature"), consistency="strong") == by_temperature
    assert found(has, sort=attr("temperature"), order="desc", consistency="strong") == by_temperature[::-1]
    assert found(has, sort="external_id", order="desc", consistency="strong") == sorted(warm, reverse=True)
    registered = found(has, sort="registered", consistency="strong")
    assert found(has, consistency="strong") == registered
    assert found(has, order="desc", consistency="strong") == registered[::-1]

    # Attributes that are not hot are looked up in history.
    limit = sorted(latest[n]["rpm"] for n in warm)[4]
    high = {n for n in warm if latest[n]["rpm"] > limit}
    assert set(found(attr("rpm") > limit)) == high
    assert len(high) == 5
    untyped = {n for n in high if type_of(n) == ""}
    assert set(found(attr("rpm") > limit, type="", cold_within="5h", on_expensive="analytics")) == untyped
    assert found(attr("rpm") > limit, cold_within="30s") == []
    with pytest.raises(eaves.BadRequest, match="not a hot attribute") as told:
        found(attr("rpm") > limit, consistency="strong")
    assert told.value.field == "filter.attribute"
    with pytest.raises(eaves.BadRequest) as told:
        found(sort=attr("rpm"))
    assert told.value.field == "sort.attribute"

    conditions: list[tuple[eaves.Filter, Callable[[dict[str, Any]], bool]]] = [
        (attr("temperature") > 30, lambda v: v["temperature"] > 30),
        (attr("status") == "online", lambda v: v["status"] == "online"),
        (attr("energy") < 10**10, lambda v: v["energy"] < 10**10),
    ]
    for k in (1, 2, 3):
        expected = {n for n in warm if sum(holds(latest[n]) for _, holds in conditions) >= k}
        assert set(found(at_least(k, *(c for c, _ in conditions)))) == expected


def test_several_histories_at_once(client: eaves.Client) -> None:
    names = ["energy", "status", "temperature"]
    expected = {(n, at): value for n in names for at, value in column(n, "p-4")}
    for order in ("asc", "desc"):
        found = client.histories("p-4", names, order=order, page_size=7, consistency="strong").to_list()
        assert {(p.attribute, p.observed_at): p.value for p in found} == expected
        assert len(found) == len(expected)
        times = [p.observed_at for p in found]
        assert times == sorted(times, reverse=order == "desc")
    start, end = TIMES[3], TIMES[9]
    window = client.histories("p-4", ["rpm"], start=start, end=end, order="asc", consistency="strong")
    assert [p.value for p in window] == [v for at, v in column("rpm", "p-4") if start <= at < end]
    long = client.histories("p-4", names, start=timedelta(days=70), limit=5, consistency="strong")
    assert [p.observed_at for p in long] == [TIMES[-1]] * 3 + [TIMES[-2]] * 2
    frame = client.histories("p-4", names, order="asc", consistency="strong").to_frame()
    assert list(frame.index) == [pd.Timestamp(t) for t in TIMES]
    for n in names:
        assert frame[n].tolist() == [value for _, value in column(n, "p-4")]
    assert [str(frame[n].dtype) for n in names] == ["object", "string", "float64"]
    with pytest.raises(eaves.NotFound) as told:
        client.histories("p-4", ["no-such"]).first()
    assert told.value.field == "attribute"


@pytest.mark.parametrize("length", ["7m", "13m", "3h", timedelta(days=7)])
def test_buckets_are_those_that_python_makes(client: eaves.Client, length: Any) -> None:
    names = ["rpm", "energy", "temperature"]
    minutes = {"7m": 7, "13m": 13, "3h": 180}
    span = timedelta(minutes=minutes[length]) if length in minutes else length
    expected = {
        (n, start): figures for n in names for start, figures in bucketed(column(n, "p-1"), span).items()
    }
    found = client.buckets("p-1", names, length, consistency="strong", on_expensive="refuse").to_list()
    assert {
        (b.attribute, b.start): {f: getattr(b, f) for f in ("count", "min", "max", "avg", "first", "last")}
        for b in found
    } == expected
    assert len(found) == len(expected)


def test_a_long_window_of_short_buckets_comes_in_parts(client: eaves.Client) -> None:
    start, end = TIMES[0] - timedelta(hours=1), TIMES[-1] + timedelta(microseconds=1)
    found = client.buckets(
        "p-1", ["rpm", "temperature"], "1s", start=start, end=end, aggregates=["last"], consistency="strong"
    )
    pages = list(found.pages())
    # 5,000 buckets of an attribute at once.
    assert len(pages) == math.ceil((end - start) / timedelta(seconds=4998))
    assert (pages[0].start, pages[-1].end) == (start, end)
    buckets = [b for page in pages for b in page.items]
    for n in ("rpm", "temperature"):
        of = [b for b in buckets if b.attribute == n]
        assert [b.last for b in of] == [value for _, value in column(n, "p-1")]
        assert [b.start for b in of] == [at.replace(microsecond=0) for at in TIMES]
    assert all((b.count, b.min, b.avg) == (None, None, None) for b in buckets)
    frame = found.to_frame()
    columns: list[Any] = frame.columns.tolist()
    assert columns == [("rpm", "last"), ("temperature", "last")]
    assert frame["rpm", "last"].tolist() == [value for _, value in column("rpm", "p-1")]
    with pytest.raises(eaves.BadRequest, match="buckets are made of numbers") as told:
        client.buckets("p-1", ["status"], "1h").first()
    assert told.value.field == "attributes"


def test_the_latest_values_before_a_time(client: eaves.Client) -> None:
    before = TIMES[11] + timedelta(minutes=1)
    found = client.latest("p-2", ["rpm", "serial", "status"], before=before, consistency="strong")
    assert found.values() == {n: SENT["p-2"][TIMES[11]][n] for n in ("rpm", "status")}
    assert {a.observed_at for a in found.attributes.values()} == {TIMES[11]}
    assert (found.without, found.before) == (("serial",), before)
    # The time itself is taken.
    assert client.latest("p-2", ["rpm"], before=TIMES[3])["rpm"] == SENT["p-2"][TIMES[3]]["rpm"]
    assert client.latest("p-2", ["rpm"], consistency="strong")["rpm"] == last("p-2")["rpm"]
    assert client.latest("p-2", ["rpm"], before=timedelta(hours=4)).without == ("rpm",)


def test_figures_are_those_that_python_computes(client: eaves.Client) -> None:
    names = ["rpm", "temperature", "energy"]
    everything: Any = ["count", "entities", "sum", "avg", "min", "max", "p50", "p95", "p99"]
    found = client.aggregate(
        names, group_by="entity_type", aggregates=everything, on_expensive="analytics", purpose="reporting"
    )
    expected = {}
    for n in names:
        for of_type in TYPES:
            values = [value for _, value in column(n, of_type=of_type)]
            total = sum(map(Fraction, values), Fraction(0))
            expected[n, of_type] = {
                "count": len(values),
                "entities": sum(type_of(e) == of_type for e in SENT if e != "odd"),
                "sum": pytest.approx(math.fsum(values), rel=1e-12) if n == "temperature" else total,
                "avg": mean(values),
                "min": min(values),
                "max": max(values),
                **{f"p{p}": nearest_rank(values, p) for p in (50, 95, 99)},
            }
    assert {(g.attribute, g.entity_type): dict(g.figures) for g in found.groups} == expected
    assert [g.attribute for g in found.groups] == [n for n in names for _ in TYPES]
    assert found.metadata.consistency is eaves.Consistency.ANALYTICS
    frame = found.to_frame()
    assert frame.loc[("rpm", "pump"), "max"] == expected["rpm", "pump"]["max"]

    # Without a group: the window, the type, and what is least in number.
    start, end = TIMES[2], TIMES[15]
    found = client.aggregate([*names, "serial"], start=start, end=end, type="valve", min_count=2)
    assert (found.start, found.end) == (start, end)
    assert [(g.attribute, g.entity_type, g["count"], g["p50"]) for g in found.groups] == [
        (n, None, len(values), nearest_rank(values, 50))
        for n in names
        for values in ([v for at, v in column(n, of_type="valve") if start <= at < end],)
    ]
    assert client.aggregate(["serial"], min_count=2).groups == ()
    (serial,) = client.aggregate(["serial"], aggregates=["count", "max"]).groups
    assert serial.figures == {"count": 1, "max": None}


@pytest.mark.parametrize("attribute", ["rpm", "temperature", "energy"])
def test_a_histogram_is_the_one_that_python_makes(client: eaves.Client, attribute: str) -> None:
    values = [value for _, value in column(attribute)]
    least, most = min(values), max(values)
    found = client.distribution(attribute, buckets=4, on_expensive="refuse")
    assert found.buckets is not None
    lows, highs = [b.low for b in found.buckets], [b.high for b in found.buckets]
    assert (lows[0], highs[-1], lows[1:]) == (least, most, highs[:-1])
    # Of one width, to 16 digits; a value is in the bucket whose bounds it is between.
    for i, low in enumerate(lows):
        assert float(low) == pytest.approx(
            float(Fraction(least) + (Fraction(most) - Fraction(least)) * i / 4), rel=1e-15
        )
    counts = [
        sum(low <= v and (v < high or i == 3) for v in values)
        for i, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]
    assert [b.count for b in found.buckets] == counts
    assert (found.count, sum(counts)) == (len(values), len(values))
    assert (found.top, found.distinct) == (None, None)
    assert len(found.to_frame()) == 4
    assert len(client.distribution(attribute).buckets or ()) == 20


def test_the_most_frequent_values_are_those_that_python_counts(client: eaves.Client) -> None:
    counts = Counter(value for _, value in column("status", of_type="pump"))
    found = client.distribution("status", top=2, type="pump", start=TIMES[0])
    assert found.top is not None
    order = sorted(counts.items(), key=lambda c: (-c[1], c[0].encode()))
    assert [(v.value, v.count) for v in found.top] == order[:2]
    assert (found.count, found.distinct, found.buckets) == (counts.total(), len(counts), None)
    with pytest.raises(eaves.BadRequest, match="give buckets instead"):
        client.distribution("rpm", top=2)


def test_settings_can_be_read_and_changed(client: eaves.Client, platform: Platform) -> None:
    before = client.get_tenant(consistency="strong")
    assert (before.name, before.strict, before.hot_limit) == ("reads", False, 2)
    assert (before.default_window_days, before.longest_window_days) == (7, 30)
    try:
        given: dict[str, Any] = {"late": "36h:quarantine", "point_policy": "correction"}
        changed = client.update_tenant(**given, default_window_days=2)
        assert {n: getattr(changed, n) for n in given} == given
        assert changed.default_window_days == 2
        assert (changed.ahead, changed.strict) == (before.ahead, before.strict)
        assert client.update_tenant(ahead="10m:reject").late == "36h:quarantine"
        assert client.update_tenant(late=None, ahead=None).late is None
        with pytest.raises(eaves.BadRequest, match="31 is not from 1 to 30") as told:
            client.update_tenant(default_window_days=31)
        assert told.value.field == "default_window_days"
    finally:
        policy: Any = before.point_policy
        client.update_tenant(
            late=before.late, ahead=before.ahead, point_policy=policy, default_window_days=7, strict=False
        )
    after = client.get_tenant(consistency="strong")
    assert (after.late, after.ahead, after.point_policy) == (before.late, before.ahead, before.point_policy)
    with (
        eaves.Client(platform.url, platform.token("reads", scope="query:read")) as reader,
        pytest.raises(eaves.Forbidden, match="settings:write"),
    ):
        reader.update_tenant(strict=True)


def test_an_attribute_is_described(client: eaves.Client) -> None:
    assert client.describe_attribute("rpm").hot is False
    described = client.update_attribute("rpm", unit="1/min", description="Of the shaft,\ndrive end")
    assert (described.unit, described.description) == ("1/min", "Of the shaft,\ndrive end")
    assert (described.hot, described.filling, described.pin) == (False, False, None)
    assert client.update_attribute("rpm", unit="").description == described.description
    assert client.latest("p-1", ["rpm"], consistency="strong").attributes["rpm"].unit == ""
    with pytest.raises(eaves.NotFound):
        client.update_attribute("no-such", unit="C")


def test_an_attribute_is_made_before_its_first_value(client: eaves.Client) -> None:
    made = client.declare_attribute("tariff", "decimal", unit="EUR/kWh", description="Of the day")
    assert (made.type, made.unit, made.writes.values) == ("decimal", "EUR/kWh", 0)
    assert client.declare_attribute("tariff", "decimal", unit="").description == "Of the day"
    with pytest.raises(eaves.Conflict, match="registered as decimal"):
        client.declare_attribute("tariff", "float")
    with pytest.raises(eaves.BadInput, match="none of string, integer"):
        client.declare_attribute("tariff", "number")


def test_what_is_hot_is_decided_by_hand(client: eaves.Client, platform: Platform) -> None:
    with eaves.Client(platform.url, platform.token("reads", scope="query:read plugins:write")) as deciding:
        assert deciding.pin_attribute("energy", "cold", reason="never asked for").state == "cold"
        assert client.describe_attribute("energy", consistency="strong").pin == "cold"
        with pytest.raises(eaves.Conflict):
            deciding.promote_attribute("energy")
        assert deciding.unpin_attribute("energy", reason="who knows").state == "cold"
        assert client.describe_attribute("energy", consistency="strong").pin is None
        assert deciding.promote_attribute("energy", reason="searched by support").state in ("filling", "hot")
        (change,) = deciding.hot_changes(attribute="energy", consistency="strong").changes
        assert (change.change, change.reason) == ("promote", "searched by support")
        assert deciding.demote_attribute("energy").state == "cold"
        decisions = deciding.list_hot_decisions(attribute="energy", page_size=3, consistency="strong")
        assert [(d.change, d.reason, d.rule) for d in decisions] == [
            ("demote", "", "hand"),
            ("promote", "searched by support", "hand"),
            ("unpin", "who knows", "hand"),
            ("pin_cold", "never asked for", "hand"),
        ]
        with pytest.raises(eaves.NotFound):
            deciding.demote_attribute("no-such")
    with pytest.raises(eaves.Forbidden, match="plugins:write"):
        client.promote_attribute("energy")


@pytest.mark.usefixtures("client")
def test_the_asynchronous_client_asks_the_same(platform: Platform) -> None:
    async def ask(token: str) -> None:
        async with eaves.AsyncClient(platform.url, token) as asking:
            assert len(await asking.list_entities(page_size=5, consistency="strong").to_list()) == len(SENT)
            items = await asking.get_entities(["p-1", "no-such"], consistency="strong").to_list()
            assert [i.entity is None for i in items] == [False, True]
            histories = asking.histories("p-1", ["rpm", "energy"], page_size=9, consistency="strong")
            assert len([p async for p in histories]) == 2 * len(TIMES)
            frame = await asking.buckets("p-1", ["rpm"], "7m", consistency="strong").to_frame()
            assert frame["rpm", "count"].sum() == len(TIMES)
            latest, figures, shown, tenant = await asyncio.gather(
                asking.latest("p-1", ["rpm"], consistency="strong"),
                asking.aggregate(["rpm"]),
                asking.distribution("status"),
                asking.get_tenant(),
            )
            assert latest["rpm"] == last("p-1")["rpm"]
            assert [g["count"] for g in figures.groups] == [len(column("rpm"))]
            assert shown.count == len(column("status"))
            assert tenant.name == "reads"

    asyncio.run(ask(platform.token("reads")))
