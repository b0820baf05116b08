"""Entities: one, several, all, or those that a search finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from .. import frames
from .._core import Operation, Request, name
from .._decode import build
from .._paging import Listing, check_sizes, each, walk
from ..errors import BadInput
from ..filters import Attr, Filter
from ..freshness import Demand, demand
from ..models import BatchItem, BatchPage, Entity, EntityPage
from ..values import check_choice, check_names
from ._given import OnExpensive, Span, costly, entity_type, metadata, place, span, span_text
from ._given import fields as checked_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What one answer has: entities of a list, names of a batch; `fields` of a body, and of a URL.
_MOST_ENTITIES, _MOST_NAMED = 500, 100
_MOST_FIELDS, _MOST_LISTED = 1000, 100


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


def list_entities(
    *,
    type: str | None = None,
    fields: Iterable[str] | None = None,
    cold_within: Span | None = None,
    limit: int | None = None,
    page_size: int = 100,
    **asked: Unpack[Demand],
) -> Listing[EntityPage, Entity]:
    """All entities, or those of a type, in the order in which they were registered.

    What is registered or written meanwhile moves nothing between pages. `type=""` are those whose type
    is unknown. `fields`, `cold_within` and `limit` are as for `search`, but for at most 100 `fields`.
    """
    check_sizes(limit, page_size, _MOST_ENTITIES)
    parameters = demand(**asked)
    if type is not None:
        parameters += (("type", entity_type(type)),)
    if fields is not None:
        # The empty list is sent, too: it means none, and not all hot ones.
        parameters += (("fields", ",".join(checked_fields(fields, _MOST_LISTED, in_url=True))),)
    if cold_within is not None:
        parameters += (("cold_within", span_text(span("cold_within", cold_within))),)

    def page(cursor: str | None, size: int) -> Operation[EntityPage]:
        request = Request("GET", ("v1", "entities"), (*place(cursor, size), *parameters))
        return Operation(request, lambda a: EntityPage._of(a.json, metadata(a)))

    return Listing(lambda: walk(page, limit, page_size), frames.of_entities)


def get_entities(
    entity_ids: Iterable[str],
    *,
    fields: Iterable[str] | None = None,
    cold_within: Span | None = None,
    page_size: int = 100,
    **asked: Unpack[Demand],
) -> Listing[BatchPage, BatchItem]:
    """Entities by name, in the order asked for, each with its latest values or the reason why there are
    none.

    Any number of names, each once; they are asked for in batches of `page_size`, at most 100. `fields`
    and `cold_within` are as for `search`.
    """
    check_sizes(None, page_size, _MOST_NAMED)
    names = check_names("entity_ids", entity_ids, 1, None, what="names of entities")
    body = _wanted(fields, cold_within)
    parameters = demand(**asked)

    def batch(of: list[str]) -> Operation[BatchPage]:
        request = Request.post(("v1", "entities", "batch"), {"external_ids": of, **body}, parameters)
        return Operation(request, lambda a: BatchPage._of(a.json, metadata(a)))

    batches = [batch(names[i : i + page_size]) for i in range(0, len(names), page_size)]
    return Listing(lambda: each(batches), frames.of_batches)


def search(
    filter: Filter | Mapping[str, Any] | None = None,
    *,
    type: str | None = None,
    fields: Iterable[str] | None = None,
    cold_within: Span | None = None,
    sort: Attr | Literal["registered", "external_id"] | None = None,
    order: Literal["asc", "desc"] = "asc",
    limit: int | None = None,
    page_size: int = 100,
    count: bool = False,
    on_expensive: OnExpensive | None = None,
    **asked: Unpack[Demand],
) -> Listing[EntityPage, Entity]:
    """Entities by the latest values of their attributes.

    `filter` is a condition such as `attr("temperature") > 70`, or a dict as the API takes it; `fields`
    are the attributes to return, without it all hot ones; `limit` is the most entities in all.
    An attribute that is not hot is looked up in history, of the last 7 days or of `cold_within`, such as
    `"24h"`; with `consistency="strong"` the filter can name hot ones only.
    `sort` is `"external_id"`, or a hot attribute such as `attr("temperature")`, without which entities come
    last; else they come as they were registered. With `on_expensive="analytics"` a search that costs too
    much is read from the sources of analytics, where it may cost ten times as much, and not refused.
    With `count` the first of `.pages()` says in `total_count` how many there are on all of them.
    """
    check_sizes(limit, page_size, _MOST_ENTITIES)
    body = _wanted(fields, cold_within)
    if filter is not None:
        if not isinstance(filter, (Filter, Mapping)):
            raise BadInput("filter", f"{filter!r:.80} is no condition such as attr('temperature') > 70")
        body["filter"] = filter.to_dict() if isinstance(filter, Filter) else filter
    if type is not None:
        body["type"] = entity_type(type)
    check_choice("order", order, ("asc", "desc"))
    if sort is not None or order != "asc":
        body["sort"] = {**_sort(sort), "order": order}
    parameters = costly(on_expensive, **asked)

    def page(cursor: str | None, size: int) -> Operation[EntityPage]:
        more: dict[str, Any] = {"limit": size} if cursor is None else {"limit": size, "cursor": cursor}
        if count and cursor is None:
            more["count"] = True
        request = Request.post(("v1", "entities", "search"), {**body, **more}, parameters)
        return Operation(request, lambda a: EntityPage._of(a.json, metadata(a)))

    page(None, page_size)  # refuses now what cannot be sent
    return Listing(lambda: walk(page, limit, page_size), frames.of_entities)


def _wanted(fields: Iterable[str] | None, cold_within: Span | None) -> dict[str, Any]:
    """Which attributes are wanted of each entity, as a body has it."""
    body: dict[str, Any] = {}
    if fields is not None:
        body["fields"] = checked_fields(fields, _MOST_FIELDS)
    if cold_within is not None:
        body["cold_within"] = span_text(span("cold_within", cold_within))
    return body


def _sort(sort: Attr | str | None) -> dict[str, str]:
    if isinstance(sort, Attr):
        return {"attribute": sort.name}
    if sort is None:
        return {}
    if sort not in ("registered", "external_id"):
        right = f"for an attribute give attr({sort!r:.80})" if isinstance(sort, str) else "give one of them"
        raise BadInput("sort", f"{sort!r:.80} is neither registered nor external_id: {right}")
    return {"by": sort}
