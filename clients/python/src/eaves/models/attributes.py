"""Attributes, and how they are used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._decode import build, listed
from ..freshness import Metadata
from ..values import ValueType


@dataclass(frozen=True, slots=True)
class AttributeWrites:
    """What is written to an attribute, over the window."""

    values: int
    per_second: float
    value_bytes: float | None
    #: Share of values that differ from the one before of their entity.
    change_ratio: float | None
    #: Estimates.
    entities: int
    distinct_values: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class AttributeQueries:
    """What queries ask of an attribute, over the window."""

    count: int
    filters: int
    returns: int
    mean_ms: float | None


@dataclass(frozen=True, slots=True)
class DayFigures:
    """The values of the 24 hours before `counted_at`, counted in history."""

    values: int
    entities: int
    min: float | None
    max: float | None
    mean: float | None
    counted_at: datetime


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute and how it is used."""

    name: str
    type: ValueType
    unit: str
    #: Whether its latest values are at hand: searched without history, and by `strong` searches.
    hot: bool
    created_at: datetime
    #: Over which time the figures were taken.
    window_seconds: float
    writes: AttributeWrites
    queries: AttributeQueries
    last_day: DayFigures | None
    metadata: Metadata
    #: What it is, in the tenant's words; may be empty.
    description: str = ""
    #: It is to be hot: history is being filled in.
    filling: bool = False
    #: `hot` or `cold` if somebody has fixed it so; `None` if it is decided by itself.
    pin: str | None = None


@dataclass(frozen=True, slots=True)
class AttributePage:
    """Attributes of a tenant, by name."""

    attributes: tuple[Attribute, ...]
    next_cursor: str | None
    metadata: Metadata

    @property
    def items(self) -> tuple[Attribute, ...]:
        return self.attributes

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> AttributePage:
        attributes = (
            build(Attribute, a, f"attributes[{i}]", metadata=metadata)
            for i, a in enumerate(listed(raw, "attributes"))
        )
        return build(cls, raw, attributes=tuple(attributes), metadata=metadata)
