"""What several questions take, and how it is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Union

from .._core import Answer
from ..errors import BadInput
from ..freshness import Demand, Metadata, demand
from ..values import check_choice, check_name, check_names

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Query parameters.
Parameters = tuple[tuple[str, str], ...]
#: How long: whole seconds, or a text such as `90s`, `5m`, `1h`, `7d`.
Span = Union[timedelta, str]  # noqa: UP007
#: What becomes of a question that would cost too much.
OnExpensive = Literal["refuse", "analytics"]

#: Most attributes that one answer over time or of figures has.
MOST_ATTRIBUTES = 50
_SPAN = re.compile(r"(\d{1,12})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_SPAN = timedelta(days=366)


def metadata(answer: Answer) -> Metadata:
    """How fresh an answer is."""
    return Metadata.of(answer.json, answer.headers)


def place(cursor: str | None, size: int) -> Parameters:
    """Where a page begins, and how large it is."""
    size_ = ("limit", str(size))
    return (size_,) if cursor is None else (size_, ("cursor", cursor))


def costly(on_expensive: OnExpensive | None, **asked: Unpack[Demand]) -> Parameters:
    """How fresh an answer must be, of a question that may cost too much."""
    parameters = demand(**asked)
    if on_expensive is None:
        return parameters
    return (
        *parameters,
        ("on_expensive", check_choice("on_expensive", on_expensive, ("refuse", "analytics"))),
    )


def span(field: str, value: Span) -> timedelta:
    """A duration, as the API takes it."""
    found = value if isinstance(value, timedelta) else None
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        # So many that `timedelta` cannot hold them are too many here, too.
        found = timedelta(seconds=min(int(match[1]) * _SECONDS[match[2]], 10**10))
    if found is None or found.microseconds or not timedelta(seconds=1) <= found <= _LONGEST_SPAN:
        raise BadInput(
            field,
            f"{value!r:.80} is no time from 1s to 366d in whole seconds, such as 5m or timedelta(minutes=5)",
        )
    return found


def span_text(value: timedelta) -> str:
    """A duration that `span` took."""
    return f"{value // timedelta(seconds=1)}s"


def entity_type(value: str) -> str:
    """A type of entity. Those whose type is unknown have the empty one."""
    return check_name("type", value) if value != "" else ""


def attributes(given: Iterable[str], *, in_url: bool = True) -> list[str]:
    """The attributes that a question is about."""
    names = check_names("attributes", given, 1, MOST_ATTRIBUTES, what="attribute names")
    return _without_commas("attributes", names) if in_url else names


def fields(given: Iterable[str], most: int, *, in_url: bool = False) -> list[str]:
    """The attributes to return of each entity; there may be none."""
    names = check_names("fields", given, 0, most, what="attribute names")
    return _without_commas("fields", names) if in_url else names


def _without_commas(field: str, names: list[str]) -> list[str]:
    for name in names:
        if "," in name:
            raise BadInput(
                field, f"{name!r} has a comma, at which the API ends a name here: ask for it by itself"
            )
    return names


def figures(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """Which figures are to be computed."""
    names = check_names("aggregates", given, 1, None, what="figures")
    return [check_choice("aggregates", figure, known) for figure in names]


def text(field: str, value: object, most: int) -> str:
    """A text for people, which may be empty and have several lines."""
    if not isinstance(value, str):
        raise BadInput(field, f"{value!r:.80} is not a text")
    if len(value) > most:
        raise BadInput(field, f"has {len(value)} characters: give at most {most}")
    if any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in value):
        raise BadInput(field, f"{value!r:.80} has control characters")
    return value
