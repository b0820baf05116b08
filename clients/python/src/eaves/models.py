"""What the platform answers with, as frozen dataclasses."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ._decode import build
from .freshness import Metadata
from .values import Value, ValueType, decode_value

__all__ = [
    "Attribute",
    "AttributePage",
    "AttributeQueries",
    "AttributeValue",
    "AttributeWrites",
    "DayFigures",
    "Entity",
    "Health",
    "HistoryPage",
    "NotSent",
    "Point",
    "QuarantineItem",
    "QuarantinePage",
    "Quarantined",
    "Redriven",
    "SearchPage",
    "Superseded",
]


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """The latest value of an attribute."""

    #: Of the type that `type` says.
    value: Value
    type: ValueType
    #: Empty if none is set.
    unit: str
    #: When it was seen.
    observed_at: datetime | None

    @classmethod
    def _from_json(cls, raw: Any, path: str) -> AttributeValue:
        return build(cls, raw, path, value=_exact(raw, path, raw.get("type")))


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity with the latest values of its hot attributes: `entity["temperature"]`."""

    #: The tenant's own name for it.
    external_id: str
    #: Empty if unknown.
    type: str
    #: Grows with every change of its hot attributes.
    version: int
    #: The newest `observed_at` of its attributes.
    observed_at: datetime | None
    #: By name, with type, unit and time.
    attributes: Mapping[str, AttributeValue]
    #: How fresh this is.
    metadata: Metadata

    def __getitem__(self, name: str) -> Value:
        return self.attributes[name].value

    def __contains__(self, name: object) -> bool:
        return name in self.attributes

    def get(self, name: str, default: Value | None = None) -> Value | None:
        """The value of an attribute, or `default`."""
        found = self.attributes.get(name)
        return default if found is None else found.value

    def values(self) -> dict[str, Value]:
        """The values by name."""
        return {name: a.value for name, a in self.attributes.items()}


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
        for i, p in enumerate(_list(raw, "points")):
            path, older = f"points[{i}]", None
            if p.get("superseded") is not None:
                older = tuple(
                    build(Superseded, s, f"{path}.superseded", value=_exact(s, path, kind))
                    for s in _list(p, "superseded")
                )
            points.append(build(Point, p, path, value=_exact(p, path, kind), superseded=older))
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


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Entities that match."""

    entities: tuple[Entity, ...]
    next_cursor: str | None
    metadata: Metadata

    @property
    def items(self) -> tuple[Entity, ...]:
        return self.entities

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> SearchPage:
        entities = (
            build(Entity, e, f"entities[{i}]", metadata=metadata)
            for i, e in enumerate(_list(raw, "entities"))
        )
        return build(cls, raw, entities=tuple(entities), metadata=metadata)


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
    #: Whether its latest values can be searched.
    hot: bool
    created_at: datetime
    #: Over which time the figures were taken.
    window_seconds: float
    writes: AttributeWrites
    queries: AttributeQueries
    last_day: DayFigures | None
    metadata: Metadata


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
            for i, a in enumerate(_list(raw, "attributes"))
        )
        return build(cls, raw, attributes=tuple(attributes), metadata=metadata)


@dataclass(frozen=True, slots=True)
class QuarantineItem:
    """Something that could not be taken."""

    id: int
    #: `record`, `value` or `derived`.
    kind: str
    #: `open`, `redriving`, `redriven`, `refused` or `dropped`.
    state: str
    #: The reason's stable code.
    reason: str
    field: str
    message: str
    pieces: int
    plugin_digest: str | None
    shard: str
    sequence: str
    sub: int
    created_at: datetime
    attempts: int
    redrive_of: int | None
    changed_at: datetime | None
    changed_by: str | None
    changed_why: str | None
    settled_at: datetime | None
    taken_again: int | None
    refused_again: int | None


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    """A page of the quarantine, newest first."""

    items: tuple[QuarantineItem, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row of the quarantine with what it holds."""

    item: QuarantineItem
    #: The payload, if it is JSON; numbers are `int` and `Decimal`, with all digits.
    payload: Any
    #: The payload, if it is not JSON. Neither is there if the row was dropped.
    payload_bytes: bytes | None

    @classmethod
    def _of(cls, raw: Any) -> Quarantined:
        text = raw.get("payload_base64")
        try:
            other = None if text is None else base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError) as e:
            raise ValueError(f"payload_base64: {e}") from e
        return build(cls, raw, payload_bytes=other)


@dataclass(frozen=True, slots=True)
class NotSent:
    """A row that could not be sent."""

    id: int
    why: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """What is on its way out of the quarantine."""

    #: Rows that the conditions find, those sent now included.
    found: int
    #: Values in them.
    pieces: int
    #: Rows whose record is in the stream now.
    sent: tuple[int, ...]
    #: Rows that could not be sent: redrive them again.
    not_sent: tuple[NotSent, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """That the query function runs."""

    status: str
    version: str


def _exact(raw: Any, path: str, value_type: Any) -> Value:
    if not isinstance(raw, dict) or "value" not in raw or not isinstance(value_type, str):
        raise ValueError(f"{path} has no value or no type")
    try:
        return decode_value(value_type, raw["value"])
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def _list(raw: Any, name: str) -> list[Any]:
    found = raw.get(name)
    if not isinstance(found, list):
        raise ValueError(f"{name} is not a list")
    return found
