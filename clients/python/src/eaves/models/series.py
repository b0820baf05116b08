"""Attributes of an entity over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .._decode import build, exact, listed, member
from ..freshness import Metadata
from ..values import Mean, Number, Value, ValueType
from ._figures import figure, window_of
from .entities import AttributeValue, Valued

#: What there can be of a bucket.
BUCKET_FIGURES = ("count", "min", "max", "avg", "first", "last")


@dataclass(frozen=True, slots=True)
class Superseded:
    """A value that a later one for the same time took the place of."""

    value: Value
    #: When the platform took it.
    ingested_at: datetime
    #: When the platform took the value after it.
    superseded_at: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a history."""

    #: When it was seen.
    observed_at: datetime
    value: Value
    #: When the platform took it.
    ingested_at: datetime
    #: With `corrections=True`: the values before, the earliest first.
    superseded: tuple[Superseded, ...] | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a history."""

    external_id: str
    attribute: str
    type: ValueType
    unit: str
    points: tuple[Point, ...]
    next_cursor: str | None
    #: First time taken.
    start: datetime
    #: First time not taken any more.
    end: datetime
    #: `desc` (newest first) or `asc`.
    order: str
    metadata: Metadata

    @property
    def items(self) -> tuple[Point, ...]:
        return self.points

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> HistoryPage:
        kind, about = raw.get("type"), raw.get("metadata")
        points = []
        for i, p in enumerate(listed(raw, "points")):
            path, older = f"points[{i}]", None
            if p.get("superseded") is not None:
                older = tuple(
                    build(Superseded, s, f"{path}.superseded", value=exact(s, path, kind))
                    for s in listed(p, "superseded")
                )
            points.append(build(Point, p, path, value=exact(p, path, kind), superseded=older))
        start, end = window_of(raw)
        order = member(str, about, "metadata", "order")
        return build(cls, raw, points=tuple(points), start=start, end=end, order=order, metadata=metadata)


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """One value of one of several attributes."""

    attribute: str
    #: When it was seen.
    observed_at: datetime
    value: Value
    #: When the platform took it.
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class Series:
    """One of several attributes over time."""

    attribute: str
    type: ValueType
    unit: str
    #: Those on this page.
    points: tuple[SeriesPoint, ...]


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """A part of the histories of several attributes: the next points of all of them together."""

    external_id: str
    #: In the order asked for.
    series: tuple[Series, ...]
    next_cursor: str | None
    #: First time taken.
    start: datetime
    #: First time not taken any more.
    end: datetime
    #: `desc` (newest first) or `asc`.
    order: str
    metadata: Metadata

    @property
    def items(self) -> tuple[SeriesPoint, ...]:
        """The points by time; those of one time in the order of the attributes asked for."""
        found = [p for series in self.series for p in series.points]
        return tuple(sorted(found, key=lambda p: p.observed_at, reverse=self.order == "desc"))

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> SeriesPage:
        series = tuple(_series(s, f"series[{i}]") for i, s in enumerate(listed(raw, "series")))
        start, end = window_of(raw)
        order = member(str, raw["metadata"], "metadata", "order")
        return build(cls, raw, series=series, start=start, end=end, order=order, metadata=metadata)


def _series(raw: Any, path: str) -> Series:
    points = []
    for i, p in enumerate(listed(raw, "points")):
        at = f"{path}.points[{i}]"
        value = exact(p, at, raw.get("type"))
        points.append(build(SeriesPoint, p, at, attribute=raw.get("attribute"), value=value))
    return build(Series, raw, path, points=tuple(points))


@dataclass(frozen=True, slots=True)
class Bucket:
    """The numbers of one attribute in a bucket of time. What was not asked for is `None`."""

    attribute: str
    #: When it begins.
    start: datetime
    #: When the next one does.
    end: datetime
    #: Values in it.
    count: int | None = None
    #: The least and the greatest.
    min: Number | None = None
    max: Number | None = None
    #: The mean.
    avg: Mean | None = None
    #: The one observed first, and the one observed last.
    first: Number | None = None
    last: Number | None = None


@dataclass(frozen=True, slots=True)
class BucketSeries:
    """One of several attributes in buckets of time."""

    attribute: str
    type: ValueType
    unit: str
    #: Those that have values, the earliest first.
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class BucketPage:
    """Attributes in buckets of time."""

    external_id: str
    #: In the order asked for.
    series: tuple[BucketSeries, ...]
    #: First time taken.
    start: datetime
    #: First time not taken any more.
    end: datetime
    #: How long a bucket is.
    bucket: timedelta
    metadata: Metadata
    #: There is none: what follows is asked for anew.
    next_cursor: None = None

    @property
    def items(self) -> tuple[Bucket, ...]:
        """The buckets by time; those of one time in the order of the attributes asked for."""
        return tuple(sorted((b for s in self.series for b in s.buckets), key=lambda b: b.start))

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> BucketPage:
        length = timedelta(seconds=member(int, raw["metadata"], "metadata", "bucket_seconds"))
        series = tuple(_buckets(s, f"series[{i}]", length) for i, s in enumerate(listed(raw, "series")))
        start, end = window_of(raw)
        return build(
            cls,
            raw,
            series=series,
            start=start,
            end=end,
            bucket=length,
            metadata=metadata,
            next_cursor=None,
        )


def _buckets(raw: Any, path: str, length: timedelta) -> BucketSeries:
    buckets = []
    for i, b in enumerate(listed(raw, "buckets")):
        at = f"{path}.buckets[{i}]"
        begin = member(datetime, b, at, "from")
        found: dict[str, Any] = {n: figure(b, at, raw.get("type"), n) for n in BUCKET_FIGURES if n in b}
        found |= {"attribute": raw.get("attribute"), "start": begin, "end": begin + length}
        buckets.append(build(Bucket, b, at, **found))
    return build(BucketSeries, raw, path, buckets=tuple(buckets))


@dataclass(frozen=True, slots=True)
class LatestValues(Valued):
    """The values of attributes that were the latest at a time: `latest["temperature"]`."""

    external_id: str
    #: Values observed later are left out.
    before: datetime
    #: By name, with type, unit and time; an attribute without a value is not there.
    attributes: Mapping[str, AttributeValue]
    #: Attributes asked for that have no value until then.
    without: tuple[str, ...]
    metadata: Metadata
