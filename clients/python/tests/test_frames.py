"""Frames have columns of the attributes' own types."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pandas as pd
import pytest
from support import FRESHNESS

import eaves

AT = ["2026-03-01T12:00:00Z", "2026-03-01T12:00:01.000001Z"]
LONG = Decimal("1234567890123456789012345.678")
IDES = "-000044-03-15T12:00:00Z"


def history(value_type: str, values: str, **members: str) -> pd.DataFrame:
    extra = "".join(f', "{name}": {text}' for name, text in members.items())
    points = ",".join(
        f'{{"observed_at": "{at}", "value": {value}, "ingested_at": "{at}"{extra}}}'
        for at, value in zip(AT, values.split(), strict=False)
    )
    about = json.dumps({"from": AT[0], "to": AT[1], "order": "asc", "count": 2, "freshness": FRESHNESS})
    body = (
        f'{{"external_id": "pump-7", "attribute": "a", "type": "{value_type}", "unit": "kWh", '
        f'"points": [{points}], "next_cursor": null, "metadata": {about}}}'
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with eaves.Client("http://x", "t", transport=transport) as client:
        return client.history("pump-7", "a").to_frame()


@pytest.mark.parametrize(
    ("value_type", "values", "dtype", "expected"),
    [
        ("integer", "9007199254740993 -9223372036854775808", "Int64", [2**53 + 1, -(2**63)]),
        ("float", "72.5 100", "float64", [72.5, 100.0]),
        ("decimal", f"12.30 {LONG}", "object", [Decimal("12.30"), LONG]),
        ("boolean", "true false", "boolean", [True, False]),
        ("string", '"on" "off"', "string", ["on", "off"]),
        ("timestamp", f'"{AT[0]}" "{AT[1]}"', "datetime64[us, UTC]", [pd.Timestamp(t) for t in AT]),
        ("timestamp", f'"{AT[0]}" "{IDES}"', "object", [pd.Timestamp(AT[0]), IDES]),
    ],
)
def test_a_history_of_each_type(value_type: str, values: str, dtype: str, expected: list[Any]) -> None:
    frame = history(value_type, values)
    assert str(frame["value"].dtype) == dtype
    assert frame["value"].tolist() == expected
    if value_type == "decimal":
        assert [str(v) for v in frame["value"]] == [str(v) for v in expected]
    assert list(frame.index) == [pd.Timestamp(t) for t in AT]
    assert str(frame.index.dtype) == "datetime64[us, UTC]"
    assert str(frame["ingested_at"].dtype) == "datetime64[us, UTC]"
    assert frame.attrs == {
        "entity": "pump-7",
        "attribute": "a",
        "type": value_type,
        "unit": "kWh",
        "lag_seconds": 0.25,
    }


@pytest.mark.parametrize("value_type", ["integer", "float", "decimal", "boolean", "string", "timestamp"])
def test_an_empty_history_has_the_same_columns(value_type: str) -> None:
    frame = history(value_type, "")
    assert frame.empty
    assert list(frame.columns) == ["value", "ingested_at"]
    assert str(frame.index.dtype) == "datetime64[us, UTC]"


def test_superseded_values_stand_beside() -> None:
    older = f'[{{"value": 1, "ingested_at": "{AT[0]}", "superseded_at": "{AT[1]}"}}]'
    frame = history("integer", "2 3", superseded=older)
    (first,) = frame["superseded"].iloc[0]
    assert (first.value, first.superseded_at.microsecond) == (1, 1)


def test_entities_are_rows_and_attributes_columns() -> None:
    def entity(name: str, **attributes: tuple[str, Any]) -> dict[str, Any]:
        values = {
            a: {"value": value, "type": kind, "unit": "", "observed_at": AT[0]}
            for a, (kind, value) in attributes.items()
        }
        return {"external_id": name, "type": "pump", "version": 1, "observed_at": AT[0], "attributes": values}

    answer = {
        "entities": [
            entity("a", n=("integer", 2**53 + 1), t=("float", 1), s=("string", "x")),
            entity("b", t=("float", 2.5), type=("boolean", True)),
        ],
        "next_cursor": None,
        "metadata": {"freshness": FRESHNESS},
    }
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    with eaves.Client("http://x", "t", transport=transport) as client:
        frame = client.search().to_frame()
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "n": "Int64",
        "t": "float64",
        "s": "string",
        "type": "boolean",
    }
    assert frame.loc["a", "n"] == 2**53 + 1
    assert frame["n"].isna().tolist() == [False, True]
    assert frame["t"].tolist() == [1.0, 2.5]
    assert list(frame.index) == ["a", "b"]
    assert frame.attrs == {"lag_seconds": 0.25}


def test_other_lists_have_a_column_for_each_field() -> None:
    writes = {
        "values": 7,
        "per_second": 1.5,
        "value_bytes": 8,
        "change_ratio": None,
        "entities": 1,
        "distinct_values": 2,
        "last_at": None,
    }
    attribute = {
        "name": "t",
        "type": "float",
        "unit": "",
        "hot": True,
        "created_at": AT[0],
        "window_seconds": 5,
        "writes": writes,
        "queries": {"count": 0, "filters": 0, "returns": 0, "mean_ms": None},
        "last_day": None,
    }
    answer = {"attributes": [attribute], "next_cursor": None, "metadata": {"freshness": FRESHNESS}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    with eaves.Client("http://x", "t", transport=transport) as client:
        frame = client.list_attributes().to_frame()
    assert frame["name"].tolist() == ["t"]
    assert frame["writes.values"].tolist() == [7]


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'eaves-client\[pandas\]'"):
        history("integer", "1 2")
