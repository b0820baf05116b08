"""What could not be taken, and what is decided about it."""

from __future__ import annotations

from typing import Any, Literal

from .. import frames
from .._core import Operation, Request
from .._decode import build
from .._paging import Listing, check_sizes, walk
from ..errors import BadInput
from ..models import Quarantined, QuarantineItem, QuarantinePage, Redriven
from ..values import Time, aware, check_choice, check_name, time_text
from ._given import place


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
        query = (*conditions.items(), *place(cursor, size))
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
    given = {"reason": reason, "kind": kind, "attribute": attribute, "state": state}
    out: dict[str, str] = {}
    for field, text in given.items():
        if text is not None:
            known = _KNOWN.get(field)
            out[field] = check_name(field, text) if known is None else check_choice(field, text, known)
    for field, at in (("since", since), ("until", until)):
        if at is not None:
            out[field] = time_text(aware(field, at))
    return out


_KNOWN = {
    "kind": ("record", "value", "derived"),
    "state": ("open", "redriving", "redriven", "refused", "dropped"),
}
