"""Attributes, and how they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import frames
from .._core import Answer, Operation, Request, name
from .._decode import build
from .._paging import Listing, check_sizes, walk
from ..errors import BadInput
from ..freshness import Demand, demand
from ..models import Attribute, AttributePage
from ._given import metadata, place
from ._given import text as checked_text

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MOST_UNIT, _MOST_DESCRIPTION = 64, 1000
_TYPES = ("string", "integer", "float", "decimal", "boolean", "timestamp")


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
    return Operation(Request("GET", path_of(attribute), demand(**asked)), _attribute)


def update_attribute(
    attribute: str, *, unit: str | None = None, description: str | None = None
) -> Operation[Attribute]:
    """Sets the unit (at most 64 characters) or the description (1000) of an attribute, and returns it as it
    is now. What is not given stays, and an empty text takes it away.

    The type is that of its first value, or the one it was made with (`declare_attribute`). Needs the
    scope `settings:write`.
    """
    body = _described(unit, description)
    if not body:
        raise BadInput("body", "changes nothing: give unit, description or both")
    return Operation(Request.patch(path_of(attribute), body), _attribute)


def declare_attribute(
    attribute: str, type: str, *, unit: str | None = None, description: str | None = None
) -> Operation[Attribute]:
    """Makes an attribute with its type (`string`, `integer`, `float`, `decimal`, `boolean` or
    `timestamp`) before its first value comes, which would decide it, and sets unit and description where
    they are given.

    One that is there already keeps its type: `Conflict` if that is another one. Needs the scope
    `settings:write`.
    """
    if type not in _TYPES:
        raise BadInput("type", f"{type!r} is none of {', '.join(_TYPES)}")
    body = {"type": type, **_described(unit, description)}
    return Operation(Request.put(path_of(attribute), body), _attribute)


def _described(unit: str | None, description: str | None) -> dict[str, str]:
    body: dict[str, str] = {}
    for field, text, most in (("unit", unit, _MOST_UNIT), ("description", description, _MOST_DESCRIPTION)):
        if text is not None:
            body[field] = checked_text(field, text, most)
    return body


def path_of(attribute: str) -> tuple[str, ...]:
    """Where an attribute is."""
    return ("v1", "attributes", name("attribute", attribute))


def _attribute(answer: Answer) -> Attribute:
    return build(Attribute, answer.json["attribute"], "attribute", metadata=metadata(answer))
