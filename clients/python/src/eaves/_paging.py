"""Answers in pages, walked by their cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ._core import Operation
from .errors import ProtocolError
from .values import check_number

if TYPE_CHECKING:
    import pandas as pd


class Page(Protocol):
    """A part of an answer."""

    @property
    def items(self) -> Sequence[Any]: ...
    @property
    def next_cursor(self) -> str | None: ...


P = TypeVar("P", bound=Page)
I = TypeVar("I")  # noqa: E741 (an item)

#: Yields the request for a page and is sent the page, until there is no more.
Walk = Generator[Operation[P], P, Any]


@dataclass(frozen=True, slots=True)
class Listing(Generic[P, I]):
    """A question whose answer comes in pages."""

    walk: Callable[[], Walk[P]]
    frame: Callable[[Sequence[P]], pd.DataFrame]


def check_sizes(limit: int | None, page_size: int, most: int) -> None:
    """Refuses a limit below 1, and pages larger than the API's."""
    for name, value, bound in (("limit", limit, None), ("page_size", page_size, most)):
        if value is not None:
            check_number(name, value, bound)


def walk(
    fetch: Callable[[str | None, int], Operation[P]], limit: int | None, page_size: int
) -> Generator[Operation[P], P, int]:
    """All pages of one question, up to `limit` items. Returns how many came."""
    cursor: str | None = None
    count = 0
    while True:
        page = yield fetch(cursor, page_size if limit is None else min(page_size, limit - count))
        count += len(page.items)
        if page.next_cursor is None or (limit is not None and count >= limit):
            return count
        if page.next_cursor == cursor:
            raise ProtocolError(f"the cursor {cursor!r} leads to itself")
        cursor = page.next_cursor


def each(operations: Iterable[Operation[P]]) -> Walk[P]:
    """Answers that are asked for one by one, without a cursor."""
    for operation in operations:  # noqa: UP028 (a walk is sent the pages)
        yield operation


class Pages(Generic[P, I]):
    """An answer in pages. Nothing is asked before it is iterated over; each iteration asks anew."""

    def __init__(self, listing: Listing[P, I], run: Callable[[Operation[P]], P]) -> None:
        self._listing = listing
        self._run = run

    def pages(self) -> Iterator[P]:
        """Page by page, each with its metadata."""
        steps = self._listing.walk()
        operation = next(steps, None)
        while operation is not None:
            page = self._run(operation)
            yield page
            operation = _next(steps, page)

    def __iter__(self) -> Iterator[I]:
        for page in self.pages():
            yield from page.items

    def first(self) -> I | None:
        """The first of them, or `None` if there is none."""
        return next(iter(self), None)

    def to_list(self) -> list[I]:
        """All of them."""
        return list(self)

    def to_frame(self) -> pd.DataFrame:
        """All of them as a pandas frame (needs `eaves-client[pandas]`)."""
        return self._listing.frame(list(self.pages()))


class AsyncPages(Generic[P, I]):
    """An answer in pages. Nothing is asked before it is iterated over; each iteration asks anew."""

    def __init__(self, listing: Listing[P, I], run: Callable[[Operation[P]], Awaitable[P]]) -> None:
        self._listing = listing
        self._run = run

    async def pages(self) -> AsyncIterator[P]:
        """Page by page, each with its metadata."""
        steps = self._listing.walk()
        operation = next(steps, None)
        while operation is not None:
            page = await self._run(operation)
            yield page
            operation = _next(steps, page)

    async def __aiter__(self) -> AsyncIterator[I]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def first(self) -> I | None:
        """The first of them, or `None` if there is none."""
        async for item in self:
            return item
        return None

    async def to_list(self) -> list[I]:
        """All of them."""
        return [item async for item in self]

    async def to_frame(self) -> pd.DataFrame:
        """All of them as a pandas frame (needs `eaves-client[pandas]`)."""
        return self._listing.frame([page async for page in self.pages()])


def _next(steps: Walk[P], page: P) -> Operation[P] | None:
    try:
        return steps.send(page)
    except StopIteration:
        return None
