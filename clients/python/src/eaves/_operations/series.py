"""Attributes of an entity over time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, TypeVar

from .. import frames
from .._core import Operation, Request, name
from .._paging import Listing, Page, Walk, check_sizes, walk
from ..freshness import Demand, demand
from ..models import HistoryPage, Point
from ..values import check_choice
from ._given import Parameters, metadata
from ._window import When, Window, parts, times, window

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = TypeVar("P", bound=Page)
_MOST_POINTS = 10_000


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
    **asked: Unpack[Demand],
) -> Listing[HistoryPage, Point]:
    """The values of one attribute of an entity over time, newest first unless `order="asc"`.

    `start` is included, `end` is not; a `timedelta` means so long ago. Without them: the last 7 days.
    A window of over 30 days is asked for in several parts. `limit` is the most points in all. With
    `corrections`, each point also has the values that later ones took the place of.
    """
    path = ("v1", "entities", name("entity_id", entity_id), "history", name("attribute", attribute))
    common = demand(**asked)
    if corrections:
        common += (("corrections", "true"),)

    def page(query: Parameters) -> Operation[HistoryPage]:
        request = Request("GET", path, (*query, *common))
        return Operation(request, lambda a: HistoryPage._of(a.json, metadata(a)))

    return Listing(_over_time(page, start, end, order, limit, page_size), frames.of_history)


def _over_time(
    page: Callable[[Parameters], Operation[P]],
    start: When | None,
    end: When | None,
    order: str,
    limit: int | None,
    page_size: int,
) -> Callable[[], Walk[P]]:
    """The pages of a window of any length."""
    check_sizes(limit, page_size, _MOST_POINTS)
    check_choice("order", order, ("asc", "desc"))
    now = datetime.now(timezone.utc)
    found = parts(window(start, end, now), now)
    if order == "desc":
        found.reverse()

    def part(of: Window) -> Callable[[str | None, int], Operation[P]]:
        def at(cursor: str | None, size: int) -> Operation[P]:
            # A cursor carries window and order.
            begin = (*times(of), ("order", order)) if cursor is None else (("cursor", cursor),)
            return page((*begin, ("limit", str(size))))

        return at

    def pages() -> Walk[P]:
        rest = limit
        for of in found:
            came = yield from walk(part(of), rest, page_size)
            if rest is not None:
                rest -= came
                if rest <= 0:
                    return

    return pages
