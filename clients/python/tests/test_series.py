"""Several attributes over time: points in order, windows in parts that cut no bucket."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import httpx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FRESHNESS, Caller

import eaves
from eaves.values import parse_time, time_text, write_json

both = pytest.mark.parametrize("kind", ["sync", "async"])
T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
#: Where buckets begin.
MONDAY = datetime(2000, 1, 3, tzinfo=timezone.utc)
Points = Mapping[str, Mapping[datetime, int]]


def bucketed(values: Mapping[datetime, int], length: timedelta) -> dict[datetime, dict[str, Any]]:
    """The figures of each bucket, by when it begins."""
    found: dict[datetime, list[tuple[datetime, int]]] = {}
    for at, value in sorted(values.items()):
        found.setdefault(at - (at - MONDAY) % length, []).append((at, value))
    return {
        start: {
            "count": len(of),
            "min": min(v for _, v in of),
            "max": max(v for _, v in of),
            "avg": Decimal(sum(v for _, v in of)) / len(of),
            "first": of[0][1],
            "last": of[-1][1],
        }
        for start, of in sorted(found.items())
    }


class Server:
    """Integer attributes of one entity, answered as far as the API does at once."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = {n: v[0] for n, v in parse_qs(request.url.query.decode(), keep_blank_values=True).items()}
        self.asked.append(query)
        answer = self._buckets(query) if "bucket" in query else self._points(query)
        return httpx.Response(200, content=write_json(answer, "").encode())

    def _points(self, query: dict[str, str]) -> dict[str, Any]:
        names = query["attributes"].split(",")
        if "cursor" in query:
            order, start, end, place = query["cursor"].split("_")
        else:
            order, start, end, place = query["order"], query["from"], query["to"], "0"
        first, last = parse_time(start), parse_time(end)
        assert last - first <= timedelta(days=30)
        # Points of one time are in the order of the platform's own numbers of the attributes.
        found = sorted((t, n) for n in names for t in self.points[n] if first <= t < last)
        if order == "desc":
            found.sort(key=lambda p: p[0], reverse=True)
        behind = int(place) + int(query["limit"])
        page = found[int(place) : behind]
        series = [
            {
                "attribute": n,
                "type": "integer",
                "unit": "rpm",
                "points": [
                    {"observed_at": t, "value": self.points[n][t], "ingested_at": t}
                    for t, of in page
                    if of == n
                ],
            }
            for n in names
        ]
        more = f"{order}_{start}_{end}_{behind}" if behind < len(found) else None
        about = {"from": first, "to": last, "order": order, "count": len(page), "freshness": FRESHNESS}
        return {"external_id": "pump-7", "series": series, "next_cursor": more, "metadata": about}

    def _buckets(self, query: dict[str, str]) -> dict[str, Any]:
        names = query["attributes"].split(",")
        assert not {"order", "limit", "cursor"} & set(query)
        length = timedelta(seconds=int(query["bucket"].removesuffix("s")))
        first, last = parse_time(query["from"]), parse_time(query["to"])
        assert last - first <= timedelta(days=30)
        assert ((last - first) // length + 2) * len(names) <= 10_000
        wanted = query.get("aggregates", "count,min,max,avg,first,last").split(",")
        series = []
        for n in names:
            values = {t: v for t, v in self.points[n].items() if first <= t < last}
            buckets = [
                {"from": start, **{f: v for f, v in of.items() if f in wanted}}
                for start, of in bucketed(values, length).items()
            ]
            series.append({"attribute": n, "type": "integer", "unit": "rpm", "buckets": buckets})
        about = {
            "from": first,
            "to": last,
            "order": "asc",
            "count": sum(len(s["buckets"]) for s in series),
            "bucket_seconds": length // timedelta(seconds=1),
            "freshness": FRESHNESS,
        }
        return {"external_id": "pump-7", "series": series, "next_cursor": None, "metadata": about}


def hourly(days: int) -> Points:
    """One attribute each hour, another each third hour."""
    hours = [T0 + timedelta(hours=h) for h in range(24 * days)]
    return {
        "rpm": {t: 1000 + i * i % 17 for i, t in enumerate(hours)},
        "count": {t: -i for i, t in enumerate(hours) if i % 3 == 0},
    }


@both
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("days", [1, 62])
def test_several_histories_of_any_length_come_in_order_and_once(kind: str, order: str, days: int) -> None:
    points = hourly(days)
    server = Server(points)
    found = Caller(kind, server)(
        "histories",
        "pump-7",
        ["rpm", "count"],
        start=T0,
        end=T0 + timedelta(days=days),
        order=order,
        page_size=100,
        consistency="strong",
    )
    times = [p.observed_at for p in found]
    assert times == sorted(times, reverse=order == "desc")
    assert {(p.attribute, p.observed_at): p.value for p in found} == {
        (n, t): v for n, of in points.items() for t, v in of.items()
    }
    assert len(found) == sum(len(of) for of in points.values())
    assert {q["attributes"] for q in server.asked} == {"rpm,count"}
    assert {q["consistency"] for q in server.asked} == {"strong"}


def test_a_frame_of_histories_has_a_column_for_each_attribute() -> None:
    points = hourly(2)
    with eaves.Client("http://x", "t", transport=httpx.MockTransport(Server(points))) as client:
        window: dict[str, Any] = {"start": T0, "end": T0 + timedelta(days=2), "order": "asc"}
        found = client.histories("pump-7", ["rpm", "count"], page_size=10, **window)
        frame = found.to_frame()
        first = client.histories("pump-7", ["rpm", "count"], limit=7, page_size=5, **window)
        assert [len(page.items) for page in first.pages()] == [5, 2]
        nothing = client.histories("pump-7", ["rpm"], start=T0 - timedelta(days=1), end=T0).to_frame()
    assert list(frame.columns) == ["rpm", "count"]
    assert list(frame.index) == [pd.Timestamp(t) for t in points["rpm"]]
    assert {str(t) for t in frame.dtypes} == {"Int64"}
    assert frame["rpm"].tolist() == list(points["rpm"].values())
    assert frame["count"].dropna().to_dict() == {pd.Timestamp(t): v for t, v in points["count"].items()}
    assert frame.attrs == {
        "entity": "pump-7",
        "types": {"rpm": "integer", "count": "integer"},
        "units": {"rpm": "rpm", "count": "rpm"},
        "lag_seconds": 0.25,
    }
    assert nothing.empty
    assert (list(nothing.columns), str(nothing.index.dtype)) == (["rpm"], "datetime64[us, UTC]")


@both
@pytest.mark.parametrize("length", ["1h", "7h", timedelta(days=7), "90d"])
def test_buckets_of_any_window_are_those_of_one_answer(kind: str, length: Any) -> None:
    # A window of 62 days is three answers; one of 90 days is a single bucket, and not cut.
    days = 25 if length == "90d" else 62
    points = hourly(days)
    server = Server(points)
    window = {"start": T0 + timedelta(minutes=30), "end": T0 + timedelta(days=days)}
    found = Caller(kind, server)("buckets", "pump-7", ["count", "rpm"], length, **window)
    seconds = {"1h": 3600, "7h": 7 * 3600, "90d": 90 * 86_400}.get(length, 7 * 86_400)
    expected = {
        (n, start): of
        for n in ("count", "rpm")
        for start, of in bucketed(
            {t: v for t, v in points[n].items() if t >= window["start"]}, timedelta(seconds=seconds)
        ).items()
    }
    assert {
        (b.attribute, b.start): {f: getattr(b, f) for f in ("count", "min", "max", "avg", "first", "last")}
        for b in found
    } == expected
    assert len(found) == len(expected)
    assert [b.start for b in found] == sorted(b.start for b in found)
    assert all(b.end - b.start == timedelta(seconds=seconds) for b in found)
    assert all(type(b.avg) is Decimal and type(b.min) is int for b in found)


moments = st.datetimes(datetime(2020, 1, 1), datetime(2021, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


@given(moments, st.integers(1, 40 * 86_400), st.integers(60, 20 * 86_400), st.integers(1, 50))
def test_parts_meet_where_buckets_do_and_each_can_be_answered(
    start: datetime, seconds: int, bucket: int, attributes: int
) -> None:
    end, length = start + timedelta(seconds=seconds), timedelta(seconds=bucket)
    names = [f"a{i}" for i in range(attributes)]
    # The server refuses what the API would.
    server = Server({n: {} for n in names})
    assert Caller("sync", server)("buckets", "pump-7", names, length, start=start, end=end) == []
    edges = [(parse_time(q["from"]), parse_time(q["to"])) for q in server.asked]
    assert (edges[0][0], edges[-1][1]) == (start, end)
    for (_, before), (after, _) in itertools.pairwise(edges):
        assert before == after
        assert (after - MONDAY) % length == timedelta(0)


def test_a_window_without_an_end_reaches_a_day_ahead() -> None:
    server = Server({"rpm": {}})
    Caller("sync", server)("buckets", "pump-7", ["rpm"], "1m", start=timedelta(hours=1))
    (query,) = server.asked
    assert parse_time(query["to"]) - parse_time(query["from"]) == timedelta(hours=25)

    def chosen(request: httpx.Request) -> httpx.Response:
        assert not {"from", "to"} & set(request.url.params)
        window = {"from": time_text(T0), "to": time_text(T0 + timedelta(days=8))}
        return server(httpx.Request("GET", request.url.copy_merge_params(window)))

    # Without a start the platform chooses both.
    assert Caller("sync", chosen)("buckets", "pump-7", ["rpm"], "1h") == []


def test_a_frame_of_buckets_has_a_column_for_each_attribute_and_figure() -> None:
    points = {**hourly(40), "cold": {}}
    server = Server(points)
    with eaves.Client("http://x", "t", transport=httpx.MockTransport(server)) as client:
        frame = client.buckets(
            "pump-7",
            ["count", "rpm", "cold"],
            "1h",
            start=T0,
            end=T0 + timedelta(days=40),
            aggregates=["last", "count", "avg"],
            on_expensive="analytics",
            purpose="reporting",
        ).to_frame()
    assert [q["aggregates"] for q in server.asked] == ["last,count,avg"] * 2
    assert [(q["on_expensive"], q["purpose"]) for q in server.asked] == [("analytics", "reporting")] * 2
    figures = ["last", "count", "avg"]
    columns: list[Any] = frame.columns.tolist()
    assert columns == [(n, f) for n in ("count", "rpm", "cold") for f in figures]
    assert list(frame.index) == [pd.Timestamp(t) for t in points["rpm"]]
    assert frame.index.name == "start"
    assert [str(frame["rpm", f].dtype) for f in figures] == ["Int64", "Int64", "object"]
    assert frame["rpm", "last"].tolist() == list(points["rpm"].values())
    assert frame["count", "count"].isna().sum() == len(points["rpm"]) - len(points["count"])
    assert all(frame["cold", f].isna().all() for f in figures)
    assert frame.attrs["bucket_seconds"] == 3600.0
