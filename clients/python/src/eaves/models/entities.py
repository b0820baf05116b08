"""Entities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._decode import build, exact, listed
from ..freshness import Metadata
from ..values import Value, ValueType


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
        return build(cls, raw, path, value=exact(raw, path, raw.get("type")))


class Valued:
    """What has values of attributes: `entity["temperature"]`."""

    __slots__ = ()
    attributes: Mapping[str, AttributeValue]

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
class Entity(Valued):
    """An entity with the latest values of attributes, the hot ones or those asked for:
    `entity["temperature"]`."""

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


@dataclass(frozen=True, slots=True)
class EntityPage:
    """Entities of a list, or that a search found."""

    entities: tuple[Entity, ...]
    next_cursor: str | None
    metadata: Metadata
    #: How many there are on all pages, on the first page of a search with `count=True`.
    total_count: int | None = None
    #: False if there may be more: counting ends at 100,000.
    total_count_exact: bool | None = None

    @property
    def items(self) -> tuple[Entity, ...]:
        return self.entities

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> EntityPage:
        entities = (
            build(Entity, e, f"entities[{i}]", metadata=metadata)
            for i, e in enumerate(listed(raw, "entities"))
        )
        told = raw["metadata"]
        return build(
            cls,
            raw,
            entities=tuple(entities),
            metadata=metadata,
            total_count=told.get("total_count"),
            total_count_exact=told.get("total_count_exact"),
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why there is no entity."""

    #: Its stable code, such as `not_found`.
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One of the entities asked for by name: `entity`, or `reason`."""

    #: As it was asked for.
    external_id: str
    entity: Entity | None
    #: Why there is none.
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Entities asked for by name, in the order asked for."""

    items: tuple[BatchItem, ...]
    metadata: Metadata
    #: There is none: the names that follow are asked for anew.
    next_cursor: None = None

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> BatchPage:
        items = []
        for i, item in enumerate(listed(raw, "items")):
            path, found = f"items[{i}]", item.get("entity")
            entity = None if found is None else build(Entity, found, f"{path}.entity", metadata=metadata)
            items.append(build(BatchItem, item, path, entity=entity))
        return cls(tuple(items), metadata)
