"""The tenant's own settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..freshness import Metadata


@dataclass(frozen=True, slots=True)
class Tenant:
    """The settings of the token's tenant."""

    name: str
    #: Entities and attributes must be registered before values are taken.
    strict: bool
    #: What a second, different value for a point does: `replace`, `reject` or `correction`.
    point_policy: str
    #: How late a value may be, and what becomes of a later one, such as `30d:quarantine`; `None`: no limit.
    late: str | None
    #: How far ahead a value may be dated, likewise.
    ahead: str | None
    #: How many attributes become hot by themselves. The operator sets it.
    hot_limit: int
    #: Days that a question about history covers where it names none.
    default_window_days: int
    #: Most days that it can cover. The operator sets it.
    longest_window_days: int
    metadata: Metadata
