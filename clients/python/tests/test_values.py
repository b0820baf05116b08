"""Values are exact in both directions."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves import BadInput, FarTimestamp, Source, Tier, ValueType
from eaves.readings import wire_value
from eaves.values import aware, decode_value, parse_json, parse_time, time_text, write_json

integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
texts = st.text(st.characters(codec="utf-8"))
times = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=st.just(timezone.utc),
)
scalars = st.none() | st.booleans() | integers | floats | decimals | texts
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def through_json(value: Any) -> Any:
    return parse_json(write_json(value, "x").encode())


@given(integers)
def test_an_integer_keeps_all_its_bits(value: int) -> None:
    decoded = decode_value("integer", through_json(value))
    assert decoded == value
    assert type(decoded) is int


@given(floats)
def test_a_float_is_the_same_double(value: float) -> None:
    decoded = decode_value("float", through_json(value))
    assert isinstance(decoded, float)
    assert decoded == value
    assert math.copysign(1, decoded) == math.copysign(1, value)


@given(integers)
def test_a_float_without_a_fraction_is_a_float_all_the_same(value: int) -> None:
    # JSONB writes 1e2 as 100.
    decoded = decode_value("float", parse_json(str(value)))
    assert type(decoded) is float
    assert decoded == float(value)


@given(decimals)
def test_a_decimal_keeps_its_digits_and_trailing_zeros(value: Decimal) -> None:
    decoded = decode_value("decimal", parse_json(format(value, "f")))
    assert isinstance(decoded, Decimal)
    assert str(decoded) == format(value, "f")
    assert decode_value("decimal", through_json(value)) == value


@given(texts)
def test_a_string_comes_back(value: str) -> None:
    assert decode_value("string", through_json(value)) == value


@given(times, st.integers(-14 * 60, 14 * 60))
def test_a_time_is_the_same_moment_in_any_zone(value: datetime, minutes: int) -> None:
    elsewhere = value.astimezone(timezone(timedelta(minutes=minutes)))
    assert aware("x", elsewhere) == value
    assert parse_time(elsewhere.isoformat()) == value
    decoded = decode_value("timestamp", through_json(elsewhere))
    assert decoded == value
    assert isinstance(decoded, datetime)
    assert decoded.tzinfo is timezone.utc


@given(times)
def test_times_are_written_with_a_zone(value: datetime) -> None:
    assert time_text(value).endswith("Z")
    assert parse_time(time_text(value)) == value


@given(documents)
def test_json_is_written_as_it_reads(document: Any) -> None:
    text = write_json(document, "x")
    json.loads(text)
    assert parse_json(text) == _with_decimals(document)


def _with_decimals(document: Any) -> Any:
    if isinstance(document, float):
        return Decimal(repr(document))
    if isinstance(document, dict):
        return {k: _with_decimals(v) for k, v in document.items()}
    if isinstance(document, list):
        return [_with_decimals(v) for v in document]
    return document


@given(documents, st.sampled_from([t.value for t in ValueType]))
def test_what_is_not_of_the_type_is_refused_and_nothing_else_happens(document: Any, value_type: str) -> None:
    raw = through_json(document)
    fits = {
        "string": isinstance(raw, str),
        "timestamp": isinstance(raw, str),
        "boolean": isinstance(raw, bool),
        "integer": isinstance(raw, int) and not isinstance(raw, bool),
        "float": isinstance(raw, (int, Decimal)) and not isinstance(raw, bool),
        "decimal": isinstance(raw, (int, Decimal)) and not isinstance(raw, bool),
    }[value_type]
    if fits:
        decode_value(value_type, raw)
    else:
        with pytest.raises(ValueError, match=f"is not of type {value_type}"):
            decode_value(value_type, raw)


@given(st.text())
def test_a_text_is_a_time_or_is_refused(text: str) -> None:
    try:
        assert parse_time(text).tzinfo is timezone.utc
    except ValueError:
        with pytest.raises(BadInput, match="x: "):
            aware("x", text)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-03-01T12:00:00.25Z", 250_000),
        ("2026-03-01t13:00:00.2500009+01:00", 250_000),
        ("2026-03-01 12:00:00z", 0),
    ],
)
def test_all_forms_of_rfc_3339(text: str, micros: int) -> None:
    assert parse_time(text) == datetime(2026, 3, 1, 12, 0, 0, micros, timezone.utc)


def test_a_time_beyond_datetime_stays_readable() -> None:
    decoded = decode_value("timestamp", "-000044-03-15T12:00:00Z")
    assert decoded == "-000044-03-15T12:00:00Z"
    assert isinstance(decoded, FarTimestamp)


def test_names_that_a_newer_platform_has_are_kept() -> None:
    assert Source("read-replica") is Source.READ_REPLICA
    newer = Source("warehouse")
    assert newer == "warehouse"
    assert f"{newer}" == "warehouse"
    assert Tier("FROZEN").mark == "🔴"
    assert decode_value("vector", "abc") == "abc"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "leave out"),
        (math.nan, "leave out"),
        (-math.inf, "leave out"),
        (Decimal("NaN"), "leave out"),
        (2**63, "64 bits"),
        ([1], "no lists"),
        (b"x", "leave out"),
        ({"a": 1}, "is an object"),
        (datetime(2026, 3, 1), "has no time zone"),  # noqa: DTZ001
        ("\ud800", "surrogate"),
        (object(), "cannot be sent"),
    ],
)
def test_what_the_wire_format_cannot_say_is_refused_by_name(value: Any, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        wire_value(value, "[3].values.x")
    assert refused.value.field.startswith("[3].values.x")


def test_types_that_json_lacks_are_named() -> None:
    assert wire_value(Decimal("12.30"), "x") == {"type": "decimal", "value": "12.30"}
    noon = datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    assert wire_value(noon, "x") == {"type": "timestamp", "value": "2026-03-01T12:00:00Z"}
    assert wire_value({"type": "float", "value": 3}, "x") == {"type": "float", "value": 3}
    assert wire_value({"type": "decimal", "value": Decimal("1.0")}, "x") == {
        "type": "decimal",
        "value": "1.0",
    }


def test_scalars_of_numpy_and_pandas_are_taken() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    assert wire_value(numpy.int64(7), "x") == 7
    assert wire_value(numpy.bool_(True), "x") is True
    assert write_json(numpy.float64(0.1), "x") == "0.1"
    at = pandas.Timestamp("2026-03-01T12:00:00.5Z")
    assert wire_value(at, "x") == {"type": "timestamp", "value": "2026-03-01T12:00:00.500000Z"}
    for nothing in (pandas.NA, pandas.NaT):
        with pytest.raises(BadInput):
            wire_value(nothing, "x")
