"""The tenant's own settings."""

from __future__ import annotations

import re
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

from .._core import Answer, Operation, Request
from .._decode import build
from ..errors import BadInput
from ..freshness import Demand, demand
from ..models import Tenant
from ..values import check_choice, check_number
from ._given import metadata

if TYPE_CHECKING:
    from typing_extensions import Unpack

_PATH = ("v1", "tenant")
_LIMIT = re.compile(r"\d{1,12}(ms|s|m|h|d):(accept|reject|quarantine)|accept", re.ASCII)
_MOST_DAYS = 366


def get_tenant(**asked: Unpack[Demand]) -> Operation[Tenant]:
    """The settings of the token's tenant."""
    return Operation(Request("GET", _PATH, demand(**asked)), _tenant)


def update_tenant(
    *,
    strict: bool | None = None,
    point_policy: Literal["replace", "reject", "correction"] | None = None,
    late: str | EllipsisType | None = ...,
    ahead: str | EllipsisType | None = ...,
    default_window_days: int | None = None,
) -> Operation[Tenant]:
    """Changes settings of the token's tenant, and returns all as they are now. What is not given stays.

    `late` and `ahead` are a time and what becomes of a value that is further from its arrival, such as
    `"30d:quarantine"`, `"10m:reject"`; `None` takes the limit away. Needs the scope `settings:write`; the
    platform follows within ten seconds.
    """
    body: dict[str, Any] = {}
    if strict is not None:
        if not isinstance(strict, bool):
            raise BadInput("strict", f"{strict!r:.80} is neither True nor False")
        body["strict"] = strict
    if point_policy is not None:
        known = ("replace", "reject", "correction")
        body["point_policy"] = check_choice("point_policy", point_policy, known)
    for field, limit in (("late", late), ("ahead", ahead)):
        if limit is not ...:
            if limit is not None and not (isinstance(limit, str) and _LIMIT.fullmatch(limit)):
                right = (
                    "a time and accept, reject or quarantine, such as 30d:quarantine, and None for no limit"
                )
                raise BadInput(field, f"{limit!r:.80} is no limit: give {right}")
            body[field] = limit
    if default_window_days is not None:
        body["default_window_days"] = check_number("default_window_days", default_window_days, _MOST_DAYS)
    if not body:
        right = "give strict, point_policy, late, ahead or default_window_days"
        raise BadInput("body", f"changes nothing: {right}")
    return Operation(Request.patch(_PATH, body), _tenant)


def _tenant(answer: Answer) -> Tenant:
    return build(Tenant, answer.json["tenant"], "tenant", metadata=metadata(answer))
