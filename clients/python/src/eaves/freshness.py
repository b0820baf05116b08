"""How fresh an answer is, and how far the platform is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Union

from ._decode import build
from .errors import BadInput
from .values import OpenEnum, check_choice, parse_time

__all__ = [
    "CacheState",
    "Consistency",
    "Demand",
    "FlushState",
    "FollowerState",
    "FreshnessReport",
    "Metadata",
    "PrimaryState",
    "Purpose",
    "ReplicaState",
    "SlotState",
    "Source",
    "StagingState",
    "Tier",
]


class Consistency(OpenEnum):
    """What is asked of an answer."""

    #: From the primary, or `Unavailable`; history includes what is acknowledged but not flushed.
    STRONG = "strong"
    #: From the cache, the replica or the primary, whichever is fresh enough (the default).
    EVENTUAL = "eventual"
    #: From a replica, minutes old if need be, with longer statements.
    ANALYTICS = "analytics"


class Purpose(OpenEnum):
    """What an answer is for: a row of the platform's freshness matrix, which chooses the sources and
    the age that is good enough."""

    CRITICAL = "critical"
    DASHBOARD = "dashboard"
    OPERATIONAL = "operational"
    ALERTING = "alerting"
    REPORTING = "reporting"
    ANALYTICS = "analytics"
    HISTORICAL = "historical"
    COMPLIANCE = "compliance"


#: What `consistency=` takes.
AnyConsistency = Union[Consistency, Literal["strong", "eventual", "analytics"]]  # noqa: UP007
#: What `purpose=` takes.
AnyPurpose = Union[  # noqa: UP007
    Purpose,
    Literal[
        "critical",
        "dashboard",
        "operational",
        "alerting",
        "reporting",
        "analytics",
        "historical",
        "compliance",
    ],
]
#: What `max_staleness=` takes: seconds, or a time span.
Staleness = Union[float, timedelta]  # noqa: UP007


class Demand(TypedDict, total=False):
    """How fresh an answer must be. Every read takes these: see `get_entity`."""

    consistency: AnyConsistency | None
    max_staleness: Staleness | None
    purpose: AnyPurpose | None
    token: str | None
    wait: Staleness | None


class Tier(OpenEnum):
    """The age of an answer in four steps."""

    REALTIME = "REALTIME"
    NEAR_REALTIME = "NEAR_REALTIME"
    DELAYED = "DELAYED"
    STALE = "STALE"

    @property
    def mark(self) -> str:
        """🟢 under 1 s, 🟡 up to 10 s, 🟠 over 10 s, 🔴 over a minute or unknown."""
        return {"REALTIME": "🟢", "NEAR_REALTIME": "🟡", "DELAYED": "🟠"}.get(self.value, "🔴")

    @property
    def ui_state(self) -> str:
        """What to show beside the mark: Real-time, Near real-time, Delayed or Stale."""
        shown = {"REALTIME": "Real-time", "NEAR_REALTIME": "Near real-time", "DELAYED": "Delayed"}
        return shown.get(self.value, "Stale")


class Source(OpenEnum):
    """Where an answer was read."""

    CACHE = "cache"
    READ_REPLICA = "read-replica"
    PRIMARY = "primary"


@dataclass(frozen=True, slots=True)
class _Freshness:
    """`metadata.freshness` of a body."""

    tier: Tier
    lag_seconds: float | None
    source: Source
    consistency: Consistency
    sla_target: float
    sla_met: bool
    route_reason: str
    purpose: Purpose | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """How fresh an answer is, and why it was read where it was read."""

    #: Where it was read (`X-Data-Source`).
    source: Source
    #: The answer lacks at most what was committed in the last so many seconds
    #: (`X-Data-Lag-Seconds`). Infinite if nobody knows, so that `lag_seconds > 5` is right then, too.
    lag_seconds: float
    #: The same in four steps (`X-Freshness-Tier`).
    tier: Tier
    #: What was asked for (`X-Consistency-Level`).
    consistency: Consistency
    #: Seconds that the lag is measured against.
    sla_target: float
    #: Whether the lag is under the target (`X-SLA-Met`).
    sla_met: bool
    #: Why it was read there.
    route_reason: str
    #: Whether the cache answered (`X-Cache-Hit`).
    cache_hit: bool
    #: Seconds that the replica was behind when last measured (`X-Replication-Lag`); `None` if
    #: there is no replica, infinite if nobody knows.
    replication_lag: float | None
    #: When the answer was made (`X-Query-Timestamp`).
    queried_at: datetime | None
    #: What the answer was said to be for; `None` if nothing.
    purpose: Purpose | None = None
    #: All that was committed up to this time is in the answer: "data as of". `None` if nobody knows.
    as_of: datetime | None = None

    @classmethod
    def of(cls, body: Any, headers: Mapping[str, str]) -> Metadata:
        """The metadata of an answer: its `metadata.freshness` and headers."""
        found = body.get("metadata") if isinstance(body, dict) else None
        inner = found.get("freshness") if isinstance(found, dict) else None
        f = build(_Freshness, inner, "metadata.freshness")
        lag, at = headers.get("x-replication-lag"), headers.get("x-query-timestamp")
        return cls(
            source=f.source,
            lag_seconds=math.inf if f.lag_seconds is None else f.lag_seconds,
            tier=f.tier,
            consistency=f.consistency,
            sla_target=f.sla_target,
            sla_met=f.sla_met,
            route_reason=f.route_reason,
            cache_hit=headers.get("x-cache-hit", "").lower() == "true",
            replication_lag=None if lag is None else math.inf if lag == "unknown" else float(lag),
            queried_at=None if at is None else parse_time(at),
            purpose=f.purpose,
            as_of=f.as_of,
        )

    def __str__(self) -> str:
        known = math.isfinite(self.lag_seconds)
        age = f"at most {self.lag_seconds:.1f} s old" if known else "of unknown age"
        return f"{self.tier.mark} {self.tier}: {age}, from {self.source} ({self.route_reason})"


@dataclass(frozen=True, slots=True)
class FollowerState:
    """A replica as the primary sees it."""

    name: str
    #: As PostgreSQL calls it: `streaming`, `catchup`, ….
    state: str
    lag_seconds: float | None
    #: Bytes of WAL that it has not replayed.
    lag_bytes: int | None


@dataclass(frozen=True, slots=True)
class PrimaryState:
    """The database that is written."""

    available: bool
    #: Seconds since the last heartbeat was written; `None` if it did not answer.
    heartbeat_age_seconds: float | None
    response_ms: float
    #: Heartbeats written so far.
    heartbeats: int | None = None
    #: Its position in the WAL.
    position: str | None = None
    followers: tuple[FollowerState, ...] = ()
    #: `closed`, `open` (reads are kept away) or `half-open`.
    breaker: str | None = None
    #: Whether what a crash took is still being read again: strong reads are refused until then.
    recovering: bool | None = None


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """Its streaming replica."""

    available: bool
    #: At most so far behind the primary; `None` if nobody knows.
    lag_seconds: float | None
    tier: Tier
    response_ms: float
    name: str | None = None
    #: `replaying`, `paused`, or `heartbeat` where its position cannot be had.
    state: str | None = None
    #: Bytes of WAL that it has received and not replayed.
    lag_bytes: int | None = None
    #: Up to where it has replayed the WAL.
    position: str | None = None
    breaker: str | None = None


@dataclass(frozen=True, slots=True)
class SlotState:
    """A consumer of logical decoding."""

    name: str
    #: `active` while somebody reads it, else `inactive`.
    state: str
    #: Bytes of WAL that its consumer has not confirmed.
    lag_bytes: int | None
    #: Nothing committed longer ago than that waits to be confirmed; `None` if nobody knows.
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StagingState:
    """Values that are acknowledged but not in history yet."""

    backlog_rows: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class FlushState:
    """What moves them there."""

    #: History lacks at most what was committed in the last so many seconds.
    lag_seconds: float
    #: When the last flush began, as the platform writes it.
    last_at: str | None
    last_rows: int
    last_ms: float


@dataclass(frozen=True, slots=True)
class CacheState:
    """The cache."""

    reachable: bool
    response_ms: float
    #: Age by now of the entry that the instance asked last answered from.
    last_entry_age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FreshnessReport:
    """How far every part of the platform is, measured now."""

    checked_at: datetime
    primary: PrimaryState
    #: The freshest; `None` if there is none.
    replica: ReplicaState | None
    #: `None` with the primary away.
    staging: StagingState | None
    #: `None` with all databases away.
    flush: FlushState | None
    #: `None` if there is none.
    cache: CacheState | None
    replicas: tuple[ReplicaState, ...] = ()
    #: `None` with the primary away.
    slots: tuple[SlotState, ...] | None = None


def demand(
    consistency: AnyConsistency | None = None,
    max_staleness: Staleness | None = None,
    purpose: AnyPurpose | None = None,
    token: str | None = None,
    wait: Staleness | None = None,
) -> tuple[tuple[str, str], ...]:
    """The parameters that say how fresh an answer must be."""
    parameters = []
    if consistency is not None:
        known = check_choice("consistency", consistency, (c.value for c in Consistency))
        parameters.append(("consistency", known))
    if max_staleness is not None:
        parameters.append(("max_staleness", _seconds("max_staleness", max_staleness, 86_400)))
    if purpose is not None:
        parameters.append(("purpose", check_choice("purpose", purpose, (p.value for p in Purpose))))
    if token is not None:
        if not isinstance(token, str) or not token:
            raise BadInput("token", f"{token!r:.80} is not the token of a result of send")
        parameters.append(("token", token))
    if wait is not None:
        if token is None:
            raise BadInput("wait", "goes with token: without one there is nothing to wait for")
        parameters.append(("wait", _seconds("wait", wait, 10)))
    return tuple(parameters)


def _seconds(field: str, value: Staleness, most: int) -> str:
    span = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(span, bool) or not isinstance(span, (int, float)) or not 0 <= span <= most:
        raise BadInput(field, f"{value!r} is not from 0 to {most} seconds")
    return f"{span:.6f}".rstrip("0").rstrip(".") + "s"
