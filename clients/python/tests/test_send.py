"""Readings go in portions that the API takes, and again where it refused for now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Caller, accepted, bodies, problem

import eaves
from eaves import Reading, Retry
from eaves.readings import encode, portions

both = pytest.mark.parametrize("kind", ["sync", "async"])
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def reading(number: int, **values: Any) -> Reading:
    return Reading(f"pump-{number}", NOON, values or {"x": number})


def fleet(count: int) -> Iterator[Reading]:
    return (reading(n) for n in range(count))


def take_all(request: httpx.Request) -> httpx.Response:
    return accepted(len(json.loads(request.content)))


@both
def test_a_reading_as_the_wire_format_writes_it(kind: str) -> None:
    caller = Caller(kind, take_all)
    values: dict[str, eaves.Value] = {
        "t": 72.5,
        "n": 3.0,
        "i": 2**63 - 1,
        "s": "ü\n",
        "b": False,
        "d": Decimal("12.30"),
        "at": NOON,
    }
    result = caller("send", Reading("pump-7", NOON, values, type="pump"))
    assert result == eaves.SendResult(1, 1)
    assert result.raise_for_rejections() is result
    assert caller.requests[0].content.decode() == (
        '[{"entity":"pump-7","type":"pump","observed_at":"2026-03-01T12:00:00Z","values":{"t":72.5,"n":3.0,'
        '"i":9223372036854775807,"s":"ü\\n","b":false,"d":{"type":"decimal","value":"12.30"},'
        '"at":{"type":"timestamp","value":"2026-03-01T12:00:00Z"}}}]'
    )
    raw = {"entity": "pump-7", "observed_at": "2026-03-01T13:00:00+01:00", "values": {"t": 1}}
    caller("send", raw)
    assert bodies(caller)[1] == [{**raw, "observed_at": "2026-03-01T12:00:00Z"}]


@both
def test_any_number_is_sent_in_portions(kind: str) -> None:
    caller = Caller(kind, take_all)
    result = caller("send", fleet(250), batch_size=100)
    assert result.accepted_readings == 250
    assert [len(body) for body in bodies(caller)] == [100, 100, 50]
    assert [r["entity"] for body in bodies(caller) for r in body] == [f"pump-{n}" for n in range(250)]
    assert caller("send", []) == eaves.SendResult()
    assert len(caller.requests) == 3


@both
def test_each_portion_hands_its_token_on_and_reads_take_the_last(kind: str) -> None:
    def take(request: httpx.Request) -> httpx.Response:
        before = request.url.params.get("token", "")
        if request.method == "GET":
            return problem(503, kind="not-yet", headers={"retry-after": "1"})
        counts = {"accepted_readings": 1, "accepted_values": 1, "rejected": 0, "rejections": []}
        return httpx.Response(202, json={**counts, "token": before + "x"})

    caller = Caller(kind, take, retry=Retry(attempts=1))
    result = caller("send", fleet(3), batch_size=1)
    assert result.token == "xxx"
    assert [r.url.params.get("token") for r in caller.requests] == [None, "x", "xx"]
    with pytest.raises(eaves.NotYet) as late:
        caller("get_entity", "pump-7", token=result.token, wait=0.5)
    assert isinstance(late.value, eaves.Unavailable)
    assert dict(caller.requests[-1].url.params) == {"token": "xxx", "wait": "0.5s"}


def test_a_portion_has_as_many_readings_as_the_api_takes() -> None:
    caller = Caller("sync", take_all)
    assert caller("send", fleet(10_001)).accepted_readings == 10_001
    assert [len(body) for body in bodies(caller)] == [10_000, 1]


@given(st.lists(st.integers(1, 3000), max_size=30), st.integers(1, 8))
def test_no_portion_is_over_the_limits(sizes: list[int], batch_size: int) -> None:
    most = 4000
    readings = [reading(n, s="x" * size) for n, size in enumerate(sizes)]
    cut = list(portions(readings, batch_size, most))
    assert [e.number for part in cut for e in part] == list(range(len(sizes)))
    for part in cut:
        assert 1 <= len(part) <= batch_size
        assert len(b"[" + b",".join(e.json for e in part) + b"]") <= most


def test_a_reading_over_the_limit_is_refused_by_name() -> None:
    with pytest.raises(eaves.BadInput, match=r"^\[1\]: has \d+ bytes") as refused:
        Caller("sync", take_all)("send", [reading(0), reading(1, s="x" * (4 * 1024 * 1024))])
    assert refused.value.partial == eaves.SendResult()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"entity": "x", "values": {"a": 1}}, "[1].observed_at"),
        ({"entity": "x", "observed_at": NOON, "values": {}}, "[1].values"),
        ({"entity": "x", "observed_at": NOON, "values": {"": 1}}, "[1].values"),
        ({"entity": "x", "observed_at": NOON, "values": {"a": None}}, "[1].values.a"),
        ({"entity": "x", "observed_at": NOON.replace(tzinfo=None), "values": {"a": 1}}, "[1].observed_at"),
        ({"entity": "x", "observed_at": 1772366400, "values": {"a": 1}}, "[1].observed_at"),
        ({"entitty": "x"}, "[1].entitty"),
        ("pump-7", "[1]"),
    ],
)
def test_a_wrong_reading_is_named(wrong: Any, field: str) -> None:
    caller = Caller("sync", take_all)
    with pytest.raises(eaves.BadInput) as refused:
        caller("send", [reading(0), wrong], batch_size=1)
    assert refused.value.field == field
    assert refused.value.partial == eaves.SendResult()
    assert caller.requests == []
    # Of an iterator, the one before had been taken, and that is told.
    with pytest.raises(eaves.BadInput) as refused:
        caller("send", iter([reading(0), wrong]), batch_size=1)
    assert refused.value.field == field
    assert refused.value.partial == eaves.SendResult(1, 1)


@both
def test_a_lost_answer_is_no_lost_reading(kind: str) -> None:
    answers = iter([httpx.ReadTimeout("slow"), None, problem(503, headers={"retry-after": "1"}), None])

    def shaky(request: httpx.Request) -> httpx.Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer or take_all(request)

    caller = Caller(kind, shaky)
    assert caller("send", fleet(4), batch_size=2).accepted_readings == 4
    sent = bodies(caller)
    assert sent[0] == sent[1]
    assert sent[2] == sent[3]


@both
def test_what_the_stream_refused_for_now_is_sent_again(kind: str) -> None:
    throttled = {
        "accepted_readings": 1,
        "accepted_values": 1,
        "rejected": 3,
        "rejections": [
            {"field": "[1].values.y", "code": "bad_value", "message": "is null"},
            {"field": "[0]", "code": "not_sent", "message": "send it again"},
            {"field": "[2]", "code": "not_sent", "message": "send it again"},
        ],
    }
    answers = iter([httpx.Response(202, json=throttled), accepted(2)])
    caller = Caller(kind, lambda _: next(answers))
    result = caller("send", fleet(3))
    assert [[r["entity"] for r in body] for body in bodies(caller)] == [
        ["pump-0", "pump-1", "pump-2"],
        ["pump-0", "pump-2"],
    ]
    assert (result.accepted_readings, result.accepted_values, result.rejected) == (3, 3, 1)
    assert [r.code for r in result.rejections] == ["bad_value"]
    with pytest.raises(
        eaves.Rejected, match=r"1 of the readings .* first \[1\].values.y \(bad_value\): is null"
    ):
        result.raise_for_rejections()


@both
def test_what_the_stream_keeps_refusing_is_told(kind: str) -> None:
    refusal = {"field": "[0]", "code": "not_sent", "message": "send it again"}
    partly = {"accepted_readings": 1, "accepted_values": 1, "rejected": 1, "rejections": [refusal]}

    def answer(request: httpx.Request) -> httpx.Response:
        two = len(json.loads(request.content)) == 2
        return httpx.Response(202, json=partly) if two else problem(503)

    caller = Caller(kind, answer, retry=Retry(attempts=2))
    with pytest.raises(eaves.Unavailable) as told:
        caller("send", fleet(2))
    assert told.value.partial == eaves.SendResult(1, 1)
    result = Caller(kind, answer, retry=Retry(attempts=1))("send", fleet(2))
    assert [(r.field, r.code) for r in result.rejections] == [("[0]", "not_sent")]


@both
def test_refusals_that_are_not_listed_hide_nothing(kind: str) -> None:
    """The API lists 100 refusals; behind 150 bad values there may be readings that were not sent."""
    bad, throttled = set(range(150)), {150, 151}
    first = True

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal first
        sent = [int(r["entity"][5:]) for r in json.loads(request.content)]
        refused = [(i, "bad_value") for i, n in enumerate(sent) if n in bad]
        if first:
            refused += [(i, "not_sent") for i, n in enumerate(sent) if n in throttled]
            first = False
        listed = [{"field": f"[{i}]", "code": code, "message": ""} for i, code in refused]
        if len(refused) == len(sent):
            return problem(400, "bad-body", errors=listed[:100])
        good = len(sent) - len(refused)
        body = {
            "accepted_readings": good,
            "accepted_values": good,
            "rejected": len(refused),
            "rejections": listed[:100],
        }
        return httpx.Response(202, json=body)

    result = Caller(kind, answer)("send", fleet(1000))
    assert result.accepted_readings == 850
    assert result.rejected == 150
    assert result.unlisted == 0
    assert sorted(int(r.field[1:-1]) for r in result.rejections) == sorted(bad)


@both
def test_if_nothing_can_be_accepted_it_is_an_error_that_names_the_places(kind: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        count = len(json.loads(request.content))
        errors = [{"field": f"[{i}].values.x", "code": "bad_value", "message": "no"} for i in range(count)]
        return problem(400, "bad-body", errors=errors)

    caller = Caller(kind, answer)
    with pytest.raises(eaves.BadRequest) as told:
        caller("send", fleet(4), batch_size=2)
    assert [e.field for e in told.value.errors] == ["[0].values.x", "[1].values.x"]
    assert told.value.partial is not None
    assert [r.field for r in told.value.partial.rejections] == [f"[{i}].values.x" for i in range(4)]


@both
def test_bad_readings_do_not_keep_others_from_being_taken(kind: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if b"pump-0" in request.content:
            errors = [{"field": "[0].values.x", "code": "bad_value", "message": "no"}]
            return problem(400, "bad-body", errors=errors)
        return take_all(request)

    result = Caller(kind, answer)("send", fleet(3), batch_size=1)
    assert (result.accepted_readings, result.rejected) == (2, 1)
    assert result.rejections[0].field == "[0].values.x"


@both
def test_another_tenants_reading_is_an_error_with_its_number(kind: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if b"globex" in request.content:
            return problem(403, "forbidden", field="[0].tenant")
        return take_all(request)

    foreign = {"tenant": "globex", "entity": "x", "observed_at": NOON, "values": {"a": 1}}
    with pytest.raises(eaves.Forbidden) as told:
        Caller(kind, answer)("send", [reading(0), reading(1), foreign], batch_size=2)
    assert told.value.field == "[2].tenant"
    assert told.value.partial == eaves.SendResult(2, 2)


def test_what_is_written_has_the_number_of_the_reading() -> None:
    assert encode(reading(5), 5).number == 5
