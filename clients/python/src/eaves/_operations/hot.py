"""What is hot, decided by hand, and what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .. import frames
from .._core import Operation, Request
from .._decode import build
from .._paging import Listing, check_sizes, walk
from ..freshness import Demand, demand
from ..models import HotChanges, HotDecision, HotDecisionPage, HotState
from ..values import check_choice, check_name
from ._given import Parameters, metadata, place, text
from .attributes import path_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MOST_REASON, _MOST_DECISIONS = 1000, 500


def promote_attribute(attribute: str, *, reason: str = "") -> Operation[HotState]:
    """Makes an attribute hot, which it is when history is filled in: `hot_changes` tells how far that is.

    `Conflict` if it is pinned cold. Needs the scope `plugins:write` or `admin`, as all that changes what
    is hot; `reason` is for whoever looks at the decisions later.
    """
    return _decided(Request.post((*path_of(attribute), "promote"), _reason(reason)))


def demote_attribute(attribute: str, *, reason: str = "") -> Operation[HotState]:
    """Ends that an attribute is hot, from now on. `Conflict` if it is pinned hot."""
    return _decided(Request.post((*path_of(attribute), "demote"), _reason(reason)))


def pin_attribute(attribute: str, pin: Literal["hot", "cold"], *, reason: str = "") -> Operation[HotState]:
    """Fixes that an attribute is always, or never, hot, and brings it there."""
    body = {"pin": check_choice("pin", pin, ("hot", "cold")), **_reason(reason)}
    return _decided(Request.put((*path_of(attribute), "pin"), body))


def unpin_attribute(attribute: str, *, reason: str = "") -> Operation[HotState]:
    """Takes a pin away. The attribute stays as it is until something else is decided."""
    query = tuple(_reason(reason).items())
    return _decided(Request("DELETE", (*path_of(attribute), "pin"), query))


def hot_changes(*, attribute: str | None = None, **asked: Unpack[Demand]) -> Operation[HotChanges]:
    """Changes of what is hot, how far each is and how long it will go on: those under way first, then the
    newest, at most 100."""
    request = Request("GET", ("v1", "hot", "changes"), (*_about(attribute), *demand(**asked)))
    return Operation(request, lambda a: build(HotChanges, a.json, metadata=metadata(a)))


def list_hot_decisions(
    *,
    attribute: str | None = None,
    limit: int | None = None,
    page_size: int = 100,
    **asked: Unpack[Demand],
) -> Listing[HotDecisionPage, HotDecision]:
    """Decisions on what is hot, by the built-in rule, the tenant's plugin or somebody, with the figures they
    were made on, the newest first. A page has the `last_run`, too."""
    check_sizes(limit, page_size, _MOST_DECISIONS)
    parameters = (*_about(attribute), *demand(**asked))

    def page(cursor: str | None, size: int) -> Operation[HotDecisionPage]:
        request = Request("GET", ("v1", "hot", "decisions"), (*place(cursor, size), *parameters))
        return Operation(request, lambda a: build(HotDecisionPage, a.json, metadata=metadata(a)))

    return Listing(lambda: walk(page, limit, page_size), frames.of_items)


def _decided(request: Request) -> Operation[HotState]:
    # What is so already is not decided again.
    return Operation(request, lambda a: build(HotState, a.json))


def _reason(reason: str) -> dict[str, Any]:
    return {"reason": text("reason", reason, _MOST_REASON)} if reason != "" else {}


def _about(attribute: str | None) -> Parameters:
    return () if attribute is None else (("attribute", check_name("attribute", attribute)),)
