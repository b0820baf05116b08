"""Pages are walked by their cursors, windows in parts."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FRESHNESS, Caller

import eaves
from eaves._operations._window import parts as parts_of
from eaves._operations._window import window
from eaves.values import parse_time, time_text

both = pytest.mark.parametrize("kind", ["sync", "async"])
T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Series:
    """A history of one value an hour, served in pages."""

    def __init__(self, hours: int) -> None:
        self.times = [T0 + timedelta(hours=h) for h in range(hours)]
        self.texts = [time_text(t) for t in self.times]
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        self.asked.append(query)
        if "cursor" in query:
            order, start, end, place = query["cursor"].split("_")
            assert not {"from", "to", "order"} & set(query)
        else:
            order = query["order"]
            start, end, place = query["from"], query.get("to", "9999-01-01T00:00:00Z"), "0"
        assert parse_time(end) - parse_time(start) <= timedelta(days=30) or end.startswith("9999")
        # As texts: these all have the same form.
        found = [t for t in self.texts if start <= t < end]
        found.sort(reverse=order == "desc")
        first = int(place)
        page = found[first : first + int(query["limit"])]
        more = first + len(page) < len(found)
        points = [{"observed_at": t, "value": 1, "ingested_at": t} for t in page]
        body = {
            "external_id": "pump-7",
            "attribute": "rpm",
            "type": "integer",
            "unit": "",
            "points": points,
            "next_cursor": f"{order}_{start}_{end}_{first + len(page)}" if more else None,
            "metadata": {
                "from": start,
                "to": end,
                "order": order,
                "count": len(page),
                "freshness": FRESHNESS,
            },
        }
        return httpx.Response(200, json=body)


@both
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("days", [1, 30, 62])
def test_a_history_of_any_length_comes_in_order_and_once(kind: str, order: str, days: int) -> None:
    series = Series(24 * days)
    caller = Caller(kind, series)
    window = {"start": T0, "end": T0 + timedelta(days=days), "order": order}
    points = caller("history", "pump-7", "rpm", page_size=150, consistency="strong", **window)
    expected = series.times if order == "asc" else series.times[::-1]
    assert [p.observed_at for p in points] == expected
    assert all(query["consistency"] == "strong" for query in series.asked)


@both
def test_no_more_is_asked_for_than_wanted(kind: str) -> None:
    series = Series(24 * 75)
    points = Caller(kind, series)(
        "history", "pump-7", "rpm", start=T0, end=T0 + timedelta(days=75), limit=1000
    )
    assert len(points) == 1000
    assert [query["limit"] for query in series.asked] == ["1000", "640"]


def test_nothing_is_asked_before_it_is_iterated_over() -> None:
    series = Series(48)
    with eaves.Client("http://x", "t", transport=httpx.MockTransport(series)) as client:
        history = client.history("pump-7", "rpm", start=T0, end=T0 + timedelta(days=2), page_size=10)
        assert series.asked == []
        first = history.first()
        assert first is not None
        assert first.observed_at == series.times[-1]
        assert len(series.asked) == 1
        pages = list(history.pages())
        assert [len(page.points) for page in pages] == [10, 10, 10, 10, 8]
        assert pages[0].metadata.source == "cache"
        assert (pages[0].start, pages[0].end, pages[0].order) == (T0, T0 + timedelta(days=2), "desc")


moments = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


@given(moments, moments | st.none(), moments)
def test_parts_of_a_window_meet_and_each_can_be_answered(
    start: datetime, end: datetime | None, now: datetime
) -> None:
    if end is not None and end <= start:
        with pytest.raises(eaves.BadInput, match="start"):
            window(start, end, now)
        return
    parts = parts_of(window(start, end, now), now)
    assert parts[0][0] == start
    assert parts[-1][1] == end
    for (_, before), (after, _) in itertools.pairwise(parts):
        assert before == after
    for first, last in parts:
        assert first is not None
        # An open end is judged as now, by a clock that may be a day ahead.
        assert (last or max(now + timedelta(days=1), first)) - first <= timedelta(days=30)


def test_a_window_may_be_given_as_so_long_ago() -> None:
    series = Series(1)
    Caller("sync", series)("history", "pump-7", "rpm", start=timedelta(hours=1))
    (query,) = series.asked
    age = datetime.now(timezone.utc) - parse_time(query["from"])
    assert timedelta(hours=1) <= age < timedelta(hours=1, minutes=5)
    assert "to" not in query


@both
def test_a_cursor_that_leads_to_itself_does_not_go_on_for_ever(kind: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        body: dict[str, Any] = {"items": [], "next_cursor": "17"}
        return httpx.Response(200, json=body)

    with pytest.raises(eaves.ProtocolError, match="leads to itself"):
        Caller(kind, answer)("list_quarantine")


@both
def test_a_page_that_fails_is_asked_for_again_and_only_that(kind: str) -> None:
    series = Series(20)
    faults = iter([False, True, False, False])

    def shaky(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if next(faults) else series(request)

    window = {"start": T0, "end": T0 + timedelta(days=1)}
    points = Caller(kind, shaky)("history", "pump-7", "rpm", page_size=10, **window)
    assert [p.observed_at for p in points] == series.times[::-1]
    assert len(series.asked) == 2
