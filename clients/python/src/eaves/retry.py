"""When a request is sent again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from .errors import BadInput

__all__ = ["Retry"]

#: Answers that say "not now".
RETRIED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter, for requests that can be repeated without harm.

    Sent again is what got no answer, or 429, 502, 503 or 504. A `Retry-After` is waited for, and the
    jitter comes on top, so that not all who were told the same come back at once.
    """

    #: Most times that a request is sent; 1 for never again.
    attempts: int = 4
    #: The first pause is up to so many seconds; each next one up to twice as many.
    base: float = 0.2
    #: Longest pause without a `Retry-After`.
    cap: float = 10.0
    #: No pause begins that would end later than so many seconds after the first attempt began. A
    #: `Retry-After` that is longer is told at once (`RateLimited.retry_after`).
    deadline: float = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise BadInput("attempts", f"{self.attempts!r} is not a number from 1")
        for name in ("base", "cap", "deadline"):
            seconds = getattr(self, name)
            if not isinstance(seconds, (int, float)) or not seconds >= 0:
                raise BadInput(name, f"{seconds!r} is not a number of seconds")

    def pause(
        self,
        attempt: int,
        elapsed: float,
        retry_after: float | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> float | None:
        """Seconds before the next attempt, or `None` if there is none."""
        if attempt >= self.attempts:
            return None
        wait = uniform(0.0, min(self.cap, self.base * 2.0 ** min(attempt - 1, 64)))
        wait += retry_after or 0.0
        return wait if elapsed + wait <= self.deadline else None


def retry_after(header: str | None, now: Callable[[], datetime] | None = None) -> float | None:
    """The seconds that a `Retry-After` header says, or `None` if it says nothing."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header)
        except ValueError:
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=timezone.utc)
        today = now() if now is not None else datetime.now(timezone.utc)
        seconds = max(0.0, (at - today).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
