"""Windows of time, of any length."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ..errors import BadInput
from ..values import aware, time_text

#: A time, or how long ago.
When = datetime | str | timedelta
Window = tuple[datetime | None, datetime | None]

#: The longest window that is answered at once, and how far apart clocks may be.
LONGEST = timedelta(days=30)
SLACK = timedelta(days=1)
#: Buckets of time begin there, and every so long before and after.
_ALIGNED = datetime(2000, 1, 3, tzinfo=timezone.utc)


def when(field: str, value: When | None, now: datetime) -> datetime | None:
    """A time that somebody gave."""
    if isinstance(value, timedelta):
        try:
            return now - value
        except OverflowError as e:
            raise BadInput(field, f"{value!r} ago is outside the years 1 to 9999") from e
    return None if value is None else aware(field, value)


def window(start: When | None, end: When | None, now: datetime) -> Window:
    """A window that somebody gave."""
    first, last = when("start", start, now), when("end", end, now)
    if first is not None and last is not None and first >= last:
        raise BadInput("start", f"{time_text(first)} is not before the end, {time_text(last)}")
    return first, last


def times(given: Window) -> tuple[tuple[str, str], ...]:
    """A window as the API takes it."""
    return tuple((n, time_text(t)) for n, t in zip(("from", "to"), given, strict=True) if t is not None)


def parts(
    given: Window, now: datetime, longest: timedelta = LONGEST, step: timedelta | None = None
) -> list[Window]:
    """The window in parts that the API answers, the earliest first. With a `step`, which is not longer
    than the longest part, they meet where buckets of that length do."""
    start, end = given
    if start is None:
        return [given]
    # An open end is judged as now, by the platform's clock, which may be another.
    last = end if end is not None else now + SLACK
    found: list[Window] = []
    while last - start > longest:
        cut = start + longest
        if step is not None:
            cut -= (cut - _ALIGNED) % step
        found.append((start, cut))
        start = cut
    return [*found, (start, end)]
