"""What is hot, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..freshness import Metadata


@dataclass(frozen=True, slots=True)
class HotState:
    """An attribute after a decision."""

    attribute: str
    #: `hot`; `filling`: history is being filled in, and it is hot then; `cold`.
    state: str


@dataclass(frozen=True, slots=True)
class HotChange:
    """A change of one attribute, and how far it is."""

    attribute: str
    #: `promote` or `demote`.
    change: str
    #: `waiting`, `running`, `done` or `cancelled` (another change took its place).
    state: str
    requested_at: datetime
    requested_by: str
    reason: str
    #: Entities that are through, and that there were when it began.
    entities: int
    of_entities: int | None
    #: By the pace so far; `None` while nobody can know.
    seconds_left: float | None
    #: Rows of the projection that it changed.
    rows: int
    started_at: datetime | None
    #: When it was through, or given up.
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class HotChanges:
    """Changes of what is hot."""

    #: Those under way first, then the newest.
    changes: tuple[HotChange, ...]
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class DecidingPlugin:
    """The plugin that decided."""

    name: str
    version: str
    #: SHA-256 of the component.
    digest: str


@dataclass(frozen=True, slots=True)
class HotDecision:
    """A decision on what is hot."""

    #: `None` if a plugin failed and nothing was decided.
    attribute: str | None
    #: `promote`, `demote`, `pin_hot`, `pin_cold`, `unpin`; `none` if a plugin failed.
    change: str
    decided_at: datetime
    #: `default`: the built-in rule. `plugin`: the tenant's. `hand`: somebody.
    rule: str
    by: str
    plugin: DecidingPlugin | None
    #: The reason's code, such as `asked_for`.
    code: str
    reason: str
    #: The figures that it was decided on.
    statistics: Any


@dataclass(frozen=True, slots=True)
class HotRun:
    """The last time that it was decided by itself."""

    at: datetime
    #: `default` or `plugin`.
    rule: str
    plugin: DecidingPlugin | None
    #: Attributes that were looked at, and that were changed.
    attributes: int
    changes: int
    #: What the plugin proposed and was not followed, each with `why`.
    held: Any
    #: Why the plugin decided nothing.
    failure: str | None
    #: How many runs in a row it has failed.
    failures: int


@dataclass(frozen=True, slots=True)
class HotDecisionPage:
    """Decisions, the newest first."""

    decisions: tuple[HotDecision, ...]
    next_cursor: str | None
    #: `None` before the first.
    last_run: HotRun | None
    metadata: Metadata

    @property
    def items(self) -> tuple[HotDecision, ...]:
        return self.decisions
