"""Entities: one, or those that a search finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import frames
from .._core import Operation, Request, name
from .._decode import build
from .._paging import Listing, check_sizes, walk
from ..errors import BadInput
from ..filters import Filter
from ..freshness import Demand, demand
from ..models import Entity, SearchPage
from ._given import entity_type, metadata
from ._given import fields as checked_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MOST_ENTITIES, _MOST_FIELDS = 500, 1000


def get_entity(
    entity_id: str,
    **asked: Unpack[Demand],
) -> Operation[Entity]:
    """The latest values of an entity's hot attributes.

    `consistency="strong"` reads from the primary; `max_staleness` is the oldest answer to take;
    `purpose="dashboard"` names a budget of the platform's freshness matrix instead. With the `token` of an
    earlier `send` the answer has what that sent: it is waited for, up to `wait` (2 s, at most 10), and else
    there is `NotYet`.
    """
    request = Request(
        "GET",
        ("v1", "entities", name("entity_id", entity_id)),
        demand(**asked),
    )
    return Operation(request, lambda a: build(Entity, a.json["entity"], "entity", metadata=metadata(a)))


def search(
    filter: Filter | Mapping[str, Any] | None = None,
    *,
    type: str | None = None,
    fields: Iterable[str] | None = None,
    limit: int | None = None,
    page_size: int = 100,
    **asked: Unpack[Demand],
) -> Listing[SearchPage, Entity]:
    """Entities by the latest values of their hot attributes.

    `filter` is a condition such as `attr("temperature") > 70`, or a dict as the API takes it; `fields`
    are the attributes to return, without it all hot ones; `limit` is the most entities in all.
    """
    check_sizes(limit, page_size, _MOST_ENTITIES)
    body: dict[str, Any] = {}
    if filter is not None:
        if not isinstance(filter, (Filter, Mapping)):
            raise BadInput("filter", f"{filter!r:.80} is no condition such as attr('temperature') > 70")
        body["filter"] = filter.to_dict() if isinstance(filter, Filter) else filter
    if type is not None:
        body["type"] = entity_type(type)
    if fields is not None:
        body["fields"] = checked_fields(fields, _MOST_FIELDS)
    parameters = demand(**asked)

    def page(cursor: str | None, size: int) -> Operation[SearchPage]:
        more = {"limit": size} if cursor is None else {"limit": size, "cursor": cursor}
        request = Request.post(("v1", "entities", "search"), {**body, **more}, parameters)
        return Operation(request, lambda a: SearchPage._of(a.json, metadata(a)))

    page(None, page_size)  # refuses now what cannot be sent
    return Listing(lambda: walk(page, limit, page_size), frames.of_entities)
