"""Attributes, and how they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import frames
from .._core import Operation, Request, name
from .._decode import build
from .._paging import Listing, check_sizes, walk
from ..freshness import Demand, demand
from ..models import Attribute, AttributePage
from ._given import metadata, place

if TYPE_CHECKING:
    from typing_extensions import Unpack


def list_attributes(
    *,
    limit: int | None = None,
    page_size: int = 100,
    **asked: Unpack[Demand],
) -> Listing[AttributePage, Attribute]:
    """The tenant's attributes: which are hot, what is written to them, what queries ask of them."""
    check_sizes(limit, page_size, 500)
    parameters = demand(**asked)

    def page(cursor: str | None, size: int) -> Operation[AttributePage]:
        request = Request("GET", ("v1", "attributes"), (*place(cursor, size), *parameters))
        return Operation(request, lambda a: AttributePage._of(a.json, metadata(a)))

    return Listing(lambda: walk(page, limit, page_size), frames.of_items)


def describe_attribute(
    attribute: str,
    **asked: Unpack[Demand],
) -> Operation[Attribute]:
    """One attribute and how it is used."""
    path = ("v1", "attributes", name("attribute", attribute))
    request = Request("GET", path, demand(**asked))
    return Operation(
        request, lambda a: build(Attribute, a.json["attribute"], "attribute", metadata=metadata(a))
    )
