"""Attributes of an entity over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._decode import build, exact, listed
from ..freshness import Metadata
from ..values import Value, ValueType


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
        window = build(_Window, {**about, "start": about["from"], "end": about["to"]}, "metadata")
        return build(
            cls,
            raw,
            points=tuple(points),
            start=window.start,
            end=window.end,
            order=window.order,
            metadata=metadata,
        )


@dataclass(frozen=True, slots=True)
class _Window:
    start: datetime
    end: datetime
    order: str
