"""Attributes of an entity over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from .. import frames
from .._core import Operation, Request, name
from .._decode import build
from .._paging import Listing, Page, Walk, check_sizes, each, walk
from ..errors import BadInput
from ..freshness import Demand, demand
from ..models import Bucket, BucketPage, HistoryPage, LatestValues, Point, SeriesPage, SeriesPoint
from ..models.series import BUCKET_FIGURES
from ..values import check_choice, time_text
from ._given import OnExpensive, Parameters, Span, costly, figures, metadata, span, span_text
from ._given import attributes as checked_attributes
from ._window import LONGEST, SLACK, When, Window, parts, times, when, window

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = TypeVar("P", bound=Page)
#: What `aggregates` of buckets takes.
BucketFigure = Literal["count", "min", "max", "avg", "first", "last"]
_MOST_POINTS = 10_000
#: Of one answer, over all attributes.
_MOST_BUCKETS = 10_000


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


def histories(
    entity_id: str,
    attributes: Iterable[str],
    *,
    start: When | None = None,
    end: When | None = None,
    order: Literal["asc", "desc"] = "desc",
    limit: int | None = None,
    page_size: int = 1000,
    **asked: Unpack[Demand],
) -> Listing[SeriesPage, SeriesPoint]:
    """The values of up to 50 attributes of an entity over time, together, newest first unless
    `order="asc"`.

    The window is as for `history`. A frame has a column for each attribute. `limit` is the most points in
    all.
    """
    names = checked_attributes(attributes)
    path = ("v1", "entities", name("entity_id", entity_id), "history")
    common = (("attributes", ",".join(names)), *demand(**asked))

    def page(query: Parameters) -> Operation[SeriesPage]:
        request = Request("GET", path, (*query, *common))
        return Operation(request, lambda a: SeriesPage._of(a.json, metadata(a)))

    return Listing(_over_time(page, start, end, order, limit, page_size), frames.of_histories)


def buckets(
    entity_id: str,
    attributes: Iterable[str],
    bucket: Span,
    *,
    start: When | None = None,
    end: When | None = None,
    aggregates: Iterable[BucketFigure] | None = None,
    on_expensive: OnExpensive | None = None,
    **asked: Unpack[Demand],
) -> Listing[BucketPage, Bucket]:
    """Numbers in buckets of time, such as of `"5m"`: `count`, `min`, `max`, `avg`, `first` and `last` of
    each that has values, the earliest first.

    Up to 50 attributes, all of them numbers. `aggregates` are the figures to return; without it all.
    Buckets begin at whole multiples of their length from Monday 2000-01-03T00:00:00Z on, so the first and
    the last one of a window may be cut. The window is as for `history`; one of more than 30 days, or of
    more buckets than are answered at once, is asked for in several parts that cut no bucket: for buckets
    of a few seconds give an `end`, as without one the window ends a day ahead of now. With
    `on_expensive="analytics"` buckets that cost too much are read from the sources of analytics, where
    they may cost ten times as much, and not refused.
    """
    names = checked_attributes(attributes)
    path = ("v1", "entities", name("entity_id", entity_id), "history")
    length = span("bucket", bucket)
    common: Parameters = (("attributes", ",".join(names)), ("bucket", span_text(length)))
    wanted: Sequence[str] = BUCKET_FIGURES
    if aggregates is not None:
        wanted = figures(aggregates, BUCKET_FIGURES)
        common += (("aggregates", ",".join(wanted)),)
    common += costly(on_expensive, **asked)
    now = datetime.now(timezone.utc)
    first, last = window(start, end, now)
    if first is not None and last is None:
        # How many buckets there are is judged by the end, here and there.
        last = now + SLACK
    # The first and the last one may be cut.
    longest = min(LONGEST, length * (_MOST_BUCKETS // len(names) - 2))
    found = [(first, last)]
    if first is not None and last is not None and last - first > longest:
        if length > longest:
            right = "give a window that is no longer, or shorter buckets"
            raise BadInput("bucket", f"{bucket!r:.80} is over 30 days, which are answered at once: {right}")
        found = parts((first, last), now, longest, length)

    def page(of: Window) -> Operation[BucketPage]:
        request = Request("GET", path, (*times(of), *common))
        return Operation(request, lambda a: BucketPage._of(a.json, metadata(a)))

    return Listing(lambda: each(map(page, found)), partial(frames.of_buckets, figures=wanted))


def latest(
    entity_id: str,
    attributes: Iterable[str],
    *,
    before: When | None = None,
    **asked: Unpack[Demand],
) -> Operation[LatestValues]:
    """The latest values of up to 50 attributes, hot or not, at or before a time, however old; a
    `timedelta` means so long ago. Without `before`: the latest of all."""
    names = checked_attributes(attributes)
    at = when("before", before, datetime.now(timezone.utc))
    query: Parameters = (("attributes", ",".join(names)),)
    if at is not None:
        query += (("before", time_text(at)),)
    path = ("v1", "entities", name("entity_id", entity_id), "latest")
    request = Request("GET", path, (*query, *demand(**asked)))
    return Operation(request, lambda a: build(LatestValues, a.json, metadata=metadata(a)))


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
