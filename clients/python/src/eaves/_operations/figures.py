"""Figures over all entities, made of history."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from .._core import Operation, Request, name
from ..errors import BadInput
from ..freshness import Demand
from ..models import Aggregates, Distribution
from ..values import check_choice, check_number
from ._given import OnExpensive, Parameters, costly, entity_type, figures, metadata
from ._given import attributes as checked_attributes
from ._window import When, times, window

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What `aggregates` takes.
Aggregate = Literal["count", "entities", "sum", "avg", "min", "max", "p50", "p95", "p99"]
_AGGREGATES = ("count", "entities", "sum", "avg", "min", "max", "p50", "p95", "p99")
_MOST_BUCKETS, _MOST_TOP = 200, 100


def aggregate(
    attributes: Iterable[str],
    *,
    start: When | None = None,
    end: When | None = None,
    type: str | None = None,
    group_by: Literal["attribute", "entity_type"] = "attribute",
    aggregates: Iterable[Aggregate] | None = None,
    min_count: int | None = None,
    on_expensive: OnExpensive | None = None,
    **asked: Unpack[Demand],
) -> Operation[Aggregates]:
    """Figures over the values of up to 50 attributes in a window of time, of all entities or those of a
    type: `count`, `entities`, `sum`, `avg`, `min`, `max`, `p50`, `p95`, `p99`.

    `aggregates` are the figures to compute; without it all but `entities` and `sum`. There is a group for
    each attribute, or with `group_by="entity_type"` for each attribute and type of entity; `min_count` leaves
    out groups of fewer values. `start` is included, `end` is not; a `timedelta` means so long ago. Without
    them: the last 7 days; at most 30 days. What is not flushed yet is in no figure, so there is no
    `consistency="strong"`. With `on_expensive="analytics"` figures that cost too much are read from the
    sources of analytics, where they may cost ten times as much, and not refused.
    """
    body: dict[str, Any] = {"attributes": checked_attributes(attributes, in_url=False)}
    body |= _window(start, end)
    if type is not None:
        body["type"] = entity_type(type)
    if check_choice("group_by", group_by, ("attribute", "entity_type")) != "attribute":
        body["group_by"] = group_by
    if aggregates is not None:
        body["aggregates"] = figures(aggregates, _AGGREGATES)
    if min_count is not None:
        body["min_count"] = check_number("min_count", min_count, 2**32 - 1)
    request = Request.post(("v1", "aggregates"), body, _demand(on_expensive, **asked))
    return Operation(request, lambda a: Aggregates._of(a.json, metadata(a)))


def distribution(
    attribute: str,
    *,
    start: When | None = None,
    end: When | None = None,
    type: str | None = None,
    buckets: int | None = None,
    top: int | None = None,
    on_expensive: OnExpensive | None = None,
    **asked: Unpack[Demand],
) -> Operation[Distribution]:
    """How the values of an attribute in a window of time are distributed: of numbers a histogram of
    `buckets` (20, at most 200), of all else the `top` (20, at most 100) most frequent values.

    All else is as for `aggregate`.
    """
    path = ("v1", "attributes", name("attribute", attribute), "distribution")
    query: Parameters = tuple(_window(start, end).items())
    if type is not None:
        query += (("type", entity_type(type)),)
    if buckets is not None and top is not None:
        raise BadInput(
            "top", f"{top!r:.80} does not go with buckets: numbers have buckets, all else has a top"
        )
    for field, number, most in (("buckets", buckets, _MOST_BUCKETS), ("top", top, _MOST_TOP)):
        if number is not None:
            query += ((field, str(check_number(field, number, most))),)
    request = Request("GET", path, (*query, *_demand(on_expensive, **asked)))
    return Operation(request, lambda a: Distribution._of(a.json, metadata(a)))


def _window(start: When | None, end: When | None) -> dict[str, str]:
    return dict(times(window(start, end, datetime.now(timezone.utc))))


def _demand(on_expensive: OnExpensive | None, **asked: Unpack[Demand]) -> Parameters:
    if asked.get("consistency") == "strong":
        right = "figures are made of what is flushed, so take eventual or analytics"
        raise BadInput("consistency", f"'strong' is not possible: {right}")
    return costly(on_expensive, **asked)
