"""What can be asked: one function for each, shared by both clients.

A function returns an `Operation` (one request and what its answer means) or a `Listing` (an answer in
pages). To add an endpoint, write its function here and name it in both classes of `client.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from . import frames
from ._core import Answer, Operation, Request, name
from ._decode import build
from ._paging import Listing, Walk, check_sizes, walk
from .errors import BadInput
from .filters import Filter
from .freshness import AnyConsistency, AnyPurpose, FreshnessReport, Metadata, Staleness, demand
from .models import (
    Attribute,
    AttributePage,
    Entity,
    Health,
    HistoryPage,
    Point,
    Quarantined,
    QuarantineItem,
    QuarantinePage,
    Redriven,
    SearchPage,
)
from .values import Time, aware, check_name, time_text

#: The longest window that a history is answered for at once, and how far apart clocks may be.
_LONGEST = timedelta(days=30)
_SLACK = timedelta(days=1)

#: A time, or how long ago.
When = datetime | str | timedelta


def _metadata(answer: Answer) -> Metadata:
    return Metadata.of(answer.json, answer.headers)


def get_entity(
    entity_id: str,
    *,
    consistency: AnyConsistency | None = None,
    max_staleness: Staleness | None = None,
    purpose: AnyPurpose | None = None,
    token: str | None = None,
    wait: Staleness | None = None,
) -> Operation[Entity]:
    """The latest values of an entity's hot attributes.

    `consistency="strong"` reads from the primary; `max_staleness` is the oldest answer to take;
    `purpose="dashboard"` names a budget of the platform's freshness matrix instead. With the `token` of an
    earlier `send` the answer has what that sent: it is waited for, up to `wait` (2 s, at most 10), and else
    there is `NotYet`.
    """
    request = Request(
        "GET",
        ("v1", "entities", name("entity_id", entity_id)),
        demand(consistency, max_staleness, purpose, token, wait),
    )
    return Operation(request, lambda a: build(Entity, a.json["entity"], "entity", metadata=_metadata(a)))


def search(
    filter: Filter | Mapping[str, Any] | None = None,
    *,
    type: str | None = None,
    fields: Iterable[str] | None = None,
    limit: int | None = None,
    page_size: int = 100,
    consistency: AnyConsistency | None = None,
    max_staleness: Staleness | None = None,
    purpose: AnyPurpose | None = None,
    token: str | None = None,
    wait: Staleness | None = None,
) -> Listing[SearchPage, Entity]:
    """Entities by the latest values of their hot attributes.

    `filter` is a condition such as `attr("temperature") > 70`, or a dict as the API takes it; `fields`
    are the attributes to return, without it all hot ones; `limit` is the most entities in all.
    """
    check_sizes(limit, page_size, 500)
    body: dict[str, Any] = {}
    if filter is not None:
        if not isinstance(filter, (Filter, Mapping)):
            raise BadInput("filter", f"{filter!r:.80} is no condition such as attr('temperature') > 70")
        body["filter"] = filter.to_dict() if isinstance(filter, Filter) else filter
    if type is not None:
        body["type"] = check_name("type", type)
    if fields is not None:
        if isinstance(fields, str):
            raise BadInput("fields", "is a text: give a list of attribute names")
        body["fields"] = [check_name("fields", f) for f in fields]
    parameters = demand(consistency, max_staleness, purpose, token, wait)

    def page(cursor: str | None, size: int) -> Operation[SearchPage]:
        more = {"limit": size} if cursor is None else {"limit": size, "cursor": cursor}
        request = Request.post(("v1", "entities", "search"), {**body, **more}, parameters)
        return Operation(request, lambda a: SearchPage._of(a.json, _metadata(a)))

    page(None, page_size)  # refuses now what cannot be sent
    return Listing(lambda: walk(page, limit, page_size), frames.of_entities)


def history(
    entity_id: str,
    attribute: str,
    *,
    start: When | None = None,
    end: When | None = None,
    order: Literal["asc", "desc"] = "desc",
    corrections: bool = False,
    limit: int | None = None,
    page_size: int = 1000,
    consistency: AnyConsistency | None = None,
    max_staleness: Staleness | None = None,
    purpose: AnyPurpose | None = None,
    token: str | None = None,
    wait: Staleness | None = None,
) -> Listing[HistoryPage, Point]:
    """The values of one attribute of an entity over time, newest first unless `order="asc"`.

    `start` is included, `end` is not; a `timedelta` means so long ago. Without them: the last 7 days.
    A window of over 30 days is asked for in several parts. `limit` is the most points in all. With
    `corrections`, each point also has the values that later ones took the place of.
    """
    check_sizes(limit, page_size, 10_000)
    if order not in ("asc", "desc"):
        raise BadInput("order", f"{order!r} is neither asc nor desc")
    path = ("v1", "entities", name("entity_id", entity_id), "history", name("attribute", attribute))
    now = datetime.now(timezone.utc)
    windows = _windows(_when("start", start, now), _when("end", end, now), now)
    if order == "desc":
        windows.reverse()
    common = demand(consistency, max_staleness, purpose, token, wait)
    if corrections:
        common += (("corrections", "true"),)

    def part(first: datetime | None, last: datetime | None) -> Any:
        times = tuple((n, time_text(t)) for n, t in (("from", first), ("to", last)) if t is not None)

        def page(cursor: str | None, size: int) -> Operation[HistoryPage]:
            place = (*times, ("order", order)) if cursor is None else (("cursor", cursor),)
            request = Request("GET", path, (*place, ("limit", str(size)), *common))
            return Operation(request, lambda a: HistoryPage._of(a.json, _metadata(a)))

        return page

    def pages() -> Walk[HistoryPage]:
        rest = limit
        for first, last in windows:
            came = yield from walk(part(first, last), rest, page_size)
            if rest is not None:
                rest -= came
                if rest <= 0:
                    return

    return Listing(pages, frames.of_history)


def _when(field: str, value: When | None, now: datetime) -> datetime | None:
    if isinstance(value, timedelta):
        try:
            return now - value
        except OverflowError as e:
            raise BadInput(field, f"{value!r} ago is outside the years 1 to 9999") from e
    return None if value is None else aware(field, value)


def _windows(
    start: datetime | None, end: datetime | None, now: datetime
) -> list[tuple[datetime | None, datetime | None]]:
    """The window in parts that the API answers, the earliest first."""
    if start is None:
        return [(None, end)]
    if end is not None and start >= end:
        raise BadInput("start", f"{time_text(start)} is not before the end, {time_text(end)}")
    # An open end is judged as now, by the platform's clock, which may be another.
    last = end if end is not None else now + _SLACK
    parts: list[tuple[datetime | None, datetime | None]] = []
    while last - start > _LONGEST:
        parts.append((start, start + _LONGEST))
        start += _LONGEST
    return [*parts, (start, end)]


def list_attributes(
    *,
    limit: int | None = None,
    page_size: int = 100,
    consistency: AnyConsistency | None = None,
    max_staleness: Staleness | None = None,
    purpose: AnyPurpose | None = None,
    token: str | None = None,
    wait: Staleness | None = None,
) -> Listing[AttributePage, Attribute]:
    """The tenant's attributes: which are hot, what is written to them, what queries ask of them."""
    check_sizes(limit, page_size, 500)
    parameters = demand(consistency, max_staleness, purpose, token, wait)

    def page(cursor: str | None, size: int) -> Operation[AttributePage]:
        request = Request("GET", ("v1", "attributes"), (*_place(cursor, size), *parameters))
        return Operation(request, lambda a: AttributePage._of(a.json, _metadata(a)))

    return Listing(lambda: walk(page, limit, page_size), frames.of_items)


def describe_attribute(
    attribute: str,
    *,
    consistency: AnyConsistency | None = None,
    max_staleness: Staleness | None = None,
    purpose: AnyPurpose | None = None,
    token: str | None = None,
    wait: Staleness | None = None,
) -> Operation[Attribute]:
    """One attribute and how it is used."""
    path = ("v1", "attributes", name("attribute", attribute))
    request = Request("GET", path, demand(consistency, max_staleness, purpose, token, wait))
    return Operation(
        request, lambda a: build(Attribute, a.json["attribute"], "attribute", metadata=_metadata(a))
    )


def list_quarantine(
    *,
    reason: str | None = None,
    state: Literal["open", "redriving", "redriven", "refused", "dropped"] | None = None,
    kind: Literal["record", "value", "derived"] | None = None,
    attribute: str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    limit: int | None = None,
    page_size: int = 50,
) -> Listing[QuarantinePage, QuarantineItem]:
    """What could not be taken of the tenant's, newest first."""
    check_sizes(limit, page_size, 500)
    conditions = _conditions(reason, kind, attribute, since, until, state)

    def page(cursor: str | None, size: int) -> Operation[QuarantinePage]:
        query = (*conditions.items(), *_place(cursor, size))
        request = Request("GET", ("v1", "quarantine"), query)
        return Operation(request, lambda a: build(QuarantinePage, a.json))

    return Listing(lambda: walk(page, limit, page_size), frames.of_items)


def get_quarantined(id: int) -> Operation[Quarantined]:
    """One row of the quarantine with its payload."""
    return Operation(Request("GET", _row(id)), lambda a: Quarantined._of(a.json))


def redrive(id: int) -> Operation[Redriven]:
    """Sends a row's payload through the stream again. It takes effect once; `Conflict` if the row is
    settled already. Not repeated by itself: look at the row, and redrive it again."""
    request = Request.post((*_row(id), "redrive"), {})
    return Operation(request, lambda a: build(Redriven, a.json), repeatable=False)


def redrive_matching(
    *,
    reason: str | None = None,
    kind: Literal["record", "value", "derived"] | None = None,
    attribute: str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    limit: int | None = None,
    dry_run: bool = False,
) -> Operation[Redriven]:
    """Sends open rows through the stream again, the oldest first, at most 100 at once. With
    `dry_run` it only tells how many there are."""
    if limit is not None:
        check_sizes(None, limit, 100)
    body: dict[str, Any] = {**_conditions(reason, kind, attribute, since, until, None), "dry_run": dry_run}
    if limit is not None:
        body["limit"] = limit
    request = Request.post(("v1", "quarantine", "redrive"), body)
    return Operation(request, lambda a: build(Redriven, a.json), repeatable=dry_run)


def drop_quarantined(id: int, why: str) -> Operation[None]:
    """Gives a row up: its payload is removed, the row stays."""
    if not isinstance(why, str):
        raise BadInput("why", f"{why!r:.80} is not a text")
    request = Request.post((*_row(id), "drop"), {"why": why})
    return Operation(request, lambda _: None, repeatable=False)


def freshness() -> Operation[FreshnessReport]:
    """How far the primary, the replica, staging, flush and cache are, measured now."""
    return Operation(Request("GET", ("v1", "freshness")), lambda a: build(FreshnessReport, a.json))


def openapi() -> Operation[dict[str, Any]]:
    """The description of the API (OpenAPI 3.1). Needs no token."""
    return Operation(Request("GET", ("openapi.json",)), lambda a: {**json.loads(a.body)}, authorized=False)


def health() -> Operation[Health]:
    """That the query function runs. Needs no token."""
    return Operation(Request("GET", ("healthz",)), lambda a: build(Health, a.json), authorized=False)


def _place(cursor: str | None, size: int) -> tuple[tuple[str, str], ...]:
    size_ = ("limit", str(size))
    return (size_,) if cursor is None else (size_, ("cursor", cursor))


def _row(id: int) -> tuple[str, ...]:
    if isinstance(id, bool) or not isinstance(id, int) or id < 1:
        raise BadInput("id", f"{id!r:.80} is not the number of a row")
    return ("v1", "quarantine", str(id))


def _conditions(
    reason: str | None,
    kind: str | None,
    attribute: str | None,
    since: Time | None,
    until: Time | None,
    state: str | None,
) -> dict[str, str]:
    """Which rows of the quarantine are meant."""
    known = {"kind": ("record", "value", "derived"), "state": _STATES}
    given = {"reason": reason, "kind": kind, "attribute": attribute, "state": state}
    out: dict[str, str] = {}
    for field, text in given.items():
        if text is not None:
            out[field] = check_name(field, text)
            if text not in known.get(field, (text,)):
                raise BadInput(field, f"{text!r} is none of {', '.join(known[field])}")
    for field, at in (("since", since), ("until", until)):
        if at is not None:
            out[field] = time_text(aware(field, at))
    return out


_STATES = ("open", "redriving", "redriven", "refused", "dropped")
