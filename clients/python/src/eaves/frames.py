"""Answers as pandas frames, with columns of the attributes' own types.

| Type of the attribute | Column |
|---|---|
| string | `string` |
| integer | `Int64` (exact, with missing values) |
| float | `float64` |
| decimal | `object` of `decimal.Decimal` |
| boolean | `boolean` |
| timestamp | `datetime64[us, UTC]` |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .values import FarTimestamp

if TYPE_CHECKING:
    import pandas as pd

    from .models import BatchPage, Entity, EntityPage, HistoryPage

_TIME = "datetime64[us, UTC]"
_COLUMNS = {
    "string": "string",
    "integer": "Int64",
    "float": "float64",
    "boolean": "boolean",
    "timestamp": _TIME,
}


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as e:
        raise ImportError("frames need pandas: pip install 'eaves-client[pandas]'") from e
    return pandas


def column(values: Sequence[Any], value_type: str) -> pd.Series[Any]:
    """A column of an attribute's type; `None` is a missing value."""
    kind = _COLUMNS.get(value_type, "object")
    if kind == _TIME and any(isinstance(v, FarTimestamp) for v in values):
        kind = "object"
    series: pd.Series[Any] = _pandas().Series(list(values), dtype=kind)
    return series


def of_history(pages: Sequence[HistoryPage]) -> pd.DataFrame:
    """`value` and `ingested_at` by `observed_at`; what it is about and its age in `attrs`."""
    points = [p for page in pages for p in page.points]
    last = pages[-1]
    columns = {
        "value": column([p.value for p in points], last.type),
        "ingested_at": column([p.ingested_at for p in points], "timestamp"),
    }
    if any(p.superseded is not None for p in points):
        columns["superseded"] = column([p.superseded for p in points], "object")
    frame: pd.DataFrame = _pandas().DataFrame(columns)
    frame.index = _pandas().DatetimeIndex(
        column([p.observed_at for p in points], "timestamp"), name="observed_at"
    )
    frame.attrs = {
        "entity": last.external_id,
        "attribute": last.attribute,
        "type": str(last.type),
        "unit": last.unit,
        "lag_seconds": max(page.metadata.lag_seconds for page in pages),
    }
    return frame


def of_entities(pages: Sequence[EntityPage]) -> pd.DataFrame:
    """A column for each attribute, by `external_id`."""
    return _by_name([(e.external_id, e) for page in pages for e in page.entities], pages)


def of_batches(pages: Sequence[BatchPage]) -> pd.DataFrame:
    """A column for each attribute, by `external_id`; without values where there is no entity."""
    return _by_name([(item.external_id, item.entity) for page in pages for item in page.items], pages)


def _by_name(
    found: Sequence[tuple[str, Entity | None]], pages: Sequence[EntityPage] | Sequence[BatchPage]
) -> pd.DataFrame:
    types = {name: a.type for _, e in found if e is not None for name, a in e.attributes.items()}
    index = _pandas().Index([external_id for external_id, _ in found], name="external_id", dtype="string")
    columns = {
        name: column([None if e is None else e.get(name) for _, e in found], kind).set_axis(index)
        for name, kind in types.items()
    }
    frame: pd.DataFrame = _pandas().DataFrame(columns, index=index)
    frame.attrs = {"lag_seconds": max(page.metadata.lag_seconds for page in pages)}
    return frame


def of_items(pages: Sequence[Any]) -> pd.DataFrame:
    """A row for each, with the fields of its dataclass; inner ones as `writes.values`."""
    rows = [{k: v for k, v in asdict(i).items() if k != "metadata"} for page in pages for i in page.items]
    frame: pd.DataFrame = _pandas().json_normalize(rows)
    return frame
