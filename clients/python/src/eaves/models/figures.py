"""Figures over all entities, made of history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .. import frames
from .._decode import build, exact, listed
from ..freshness import Metadata
from ..values import Mean, Value, ValueType
from ._figures import bound, figure, window_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class AggregateGroup:
    """The figures of an attribute, or of an attribute and a type of entity: `group["p95"]`."""

    attribute: str
    type: ValueType
    unit: str
    #: By name: of the attribute's type, but for counts, and means of integers, which are `Decimal`. `None`
    #: where it makes no sense for the type.
    figures: Mapping[str, Value | None]
    #: With `group_by="entity_type"`; empty if it is unknown.
    entity_type: str | None = None

    def __getitem__(self, name: str) -> Value | None:
        return self.figures[name]


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Figures over a window of time."""

    #: Those that have values, in the order of the attributes asked for.
    groups: tuple[AggregateGroup, ...]
    #: First time taken.
    start: datetime
    #: First time not taken any more.
    end: datetime
    metadata: Metadata

    def to_frame(self) -> pd.DataFrame:
        """A row for each group as a pandas frame (needs `eaves-client[pandas]`)."""
        return frames.of_groups(self.groups, self.metadata)

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> Aggregates:
        groups = []
        for i, g in enumerate(listed(raw, "groups")):
            path, found = f"groups[{i}]", g.get("figures")
            values = {name: figure(found, f"{path}.figures", g.get("type"), name) for name in found}
            groups.append(build(AggregateGroup, g, path, figures=values))
        start, end = window_of(raw)
        return cls(tuple(groups), start, end, metadata)


@dataclass(frozen=True, slots=True)
class HistogramBucket:
    """One bucket of a histogram: `low <= value < high`; in the last one also `value == high`."""

    #: `Decimal`, of a float attribute `float`.
    low: Mean
    high: Mean
    #: Values in it.
    count: int


@dataclass(frozen=True, slots=True)
class ValueCount:
    """A value and how often it was seen."""

    value: Value
    count: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """How an attribute's values in a window of time are distributed."""

    attribute: str
    type: ValueType
    unit: str
    #: Values in the window.
    count: int
    #: Of numbers: buckets of one width, from the least value to the greatest. One if all values are the
    #: same, none if there are none.
    buckets: tuple[HistogramBucket, ...] | None
    #: Of all else: the most frequent values, the most frequent first.
    top: tuple[ValueCount, ...] | None
    #: Of all else: different values in the window.
    distinct: int | None
    #: First time taken.
    start: datetime
    #: First time not taken any more.
    end: datetime
    metadata: Metadata

    def to_frame(self) -> pd.DataFrame:
        """A row for each bucket or value as a pandas frame (needs `eaves-client[pandas]`)."""
        return frames.of_distribution(self)

    @classmethod
    def _of(cls, raw: Any, metadata: Metadata) -> Distribution:
        kind = raw.get("type")
        start, end = window_of(raw)
        # Either buckets, or top and distinct: of what the type does not have there is nothing.
        told = {"buckets": None, "top": None, "distinct": None, **raw}
        if told["buckets"] is not None:
            told["buckets"] = tuple(
                build(
                    HistogramBucket,
                    b,
                    f"buckets[{i}]",
                    low=bound(b, f"buckets[{i}]", kind, "from"),
                    high=bound(b, f"buckets[{i}]", kind, "to"),
                )
                for i, b in enumerate(listed(raw, "buckets"))
            )
        if told["top"] is not None:
            told["top"] = tuple(
                build(ValueCount, v, f"top[{i}]", value=exact(v, f"top[{i}]", kind))
                for i, v in enumerate(listed(raw, "top"))
            )
        return build(
            cls, told, buckets=told["buckets"], top=told["top"], start=start, end=end, metadata=metadata
        )
