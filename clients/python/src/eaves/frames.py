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

from .values import FarTimestamp, figure_type

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from .freshness import Metadata
    from .models import (
        AggregateGroup,
        BatchPage,
        BucketPage,
        Distribution,
        Entity,
        EntityPage,
        HistoryPage,
        SeriesPage,
    )

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
    frame.index = _times([p.observed_at for p in points], "observed_at")
    frame.attrs = {
        "entity": last.external_id,
        "attribute": last.attribute,
        "type": str(last.type),
        "unit": last.unit,
        "lag_seconds": max(page.metadata.lag_seconds for page in pages),
    }
    return frame


def of_histories(pages: Sequence[SeriesPage]) -> pd.DataFrame:
    """A column for each attribute, by `observed_at`; missing where it has no value then."""
    last = pages[-1]
    values: dict[str, dict[datetime, Any]] = {s.attribute: {} for s in last.series}
    for point in (p for page in pages for s in page.series for p in s.points):
        values[point.attribute][point.observed_at] = point.value
    times = sorted({t for of in values.values() for t in of}, reverse=last.order == "desc")
    index = _times(times, "observed_at")
    columns = {
        s.attribute: column([values[s.attribute].get(t) for t in times], s.type).set_axis(index)
        for s in last.series
    }
    frame: pd.DataFrame = _pandas().DataFrame(columns, index=index)
    frame.attrs = _about_series(pages)
    return frame


def of_buckets(pages: Sequence[BucketPage], figures: Sequence[str]) -> pd.DataFrame:
    """A column for each attribute and figure, by the time at which the bucket begins: `frame["temperature"]`,
    or `frame["temperature", "avg"]`. Missing where the attribute has no value in it."""
    last = pages[-1]
    found = {(b.attribute, b.start): b for page in pages for s in page.series for b in s.buckets}
    times = sorted({start for _, start in found})
    index = _times(times, "start")
    columns = {}
    for s in last.series:
        rows = [found.get((s.attribute, t)) for t in times]
        for name in figures:
            values = [None if b is None else getattr(b, name) for b in rows]
            columns[s.attribute, name] = column(values, figure_type(name, s.type)).set_axis(index)
    frame: pd.DataFrame = _pandas().DataFrame(columns, index=index)
    frame.columns.names = ["attribute", "figure"]
    frame.attrs = {**_about_series(pages), "bucket_seconds": last.bucket.total_seconds()}
    return frame


def of_groups(groups: Sequence[AggregateGroup], metadata: Metadata) -> pd.DataFrame:
    """A row for each group, by `attribute`, and by `entity_type` where groups are made of it; a column for
    each figure, of the attributes' type if they have one."""
    by = ["attribute", "entity_type"] if any(g.entity_type is not None for g in groups) else ["attribute"]
    types = {g.type for g in groups}
    (value_type,) = types if len(types) == 1 else ("",)
    columns = {name: column([getattr(g, name) for g in groups], "string") for name in (*by, "type", "unit")}
    for name in groups[0].figures if groups else ():
        columns[name] = column([g.figures[name] for g in groups], figure_type(name, value_type))
    frame: pd.DataFrame = _pandas().DataFrame(columns).set_index(by)
    frame.attrs = {"lag_seconds": metadata.lag_seconds}
    return frame


def of_distribution(found: Distribution) -> pd.DataFrame:
    """Of numbers `low`, `high` and `count` of each bucket, of all else `value` and `count`."""
    kind = figure_type("avg", found.type)
    if found.buckets is not None:
        columns = {n: column([getattr(b, n) for b in found.buckets], kind) for n in ("low", "high")}
        counted = [b.count for b in found.buckets]
    else:
        columns = {"value": column([v.value for v in found.top or ()], found.type)}
        counted = [v.count for v in found.top or ()]
    columns["count"] = column(counted, "integer")
    frame: pd.DataFrame = _pandas().DataFrame(columns)
    frame.attrs = {
        "attribute": found.attribute,
        "type": str(found.type),
        "unit": found.unit,
        "lag_seconds": found.metadata.lag_seconds,
    }
    return frame


def _times(times: Sequence[datetime], name: str) -> Any:
    return _pandas().DatetimeIndex(column(times, "timestamp"), name=name)


def _about_series(pages: Sequence[SeriesPage] | Sequence[BucketPage]) -> dict[Any, Any]:
    last = pages[-1]
    return {
        "entity": last.external_id,
        "types": {s.attribute: str(s.type) for s in last.series},
        "units": {s.attribute: s.unit for s in last.series},
        "lag_seconds": max(page.metadata.lag_seconds for page in pages),
    }


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
