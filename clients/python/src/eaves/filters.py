"""Conditions for `search`.

>>> from eaves import attr
>>> hot = (attr("temperature") > 70) & ~attr("region").isin(["eu", "us"])
>>> hot.to_dict() == {
...     "and": [
...         {"attribute": "temperature", "gt": 70},
...         {"not": {"attribute": "region", "in": ["eu", "us"]}},
...     ]
... }
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .errors import BadInput
from .values import Value, check_name, check_number

__all__ = ["Attr", "Filter", "at_least", "attr"]


class Filter:
    """A condition: join several with `&` (and), `|` (or), `~` (not)."""

    __slots__ = ("_json",)

    def __init__(self, json: Mapping[str, Any]) -> None:
        self._json = dict(json)

    def to_dict(self) -> dict[str, Any]:
        """The condition as the API takes it."""
        return self._json

    def __and__(self, other: Filter) -> Filter:
        return self._joined("and", other)

    def __or__(self, other: Filter) -> Filter:
        return self._joined("or", other)

    def __invert__(self) -> Filter:
        """All that the condition does not hold for, also what lacks the attribute."""
        if set(self._json) == {"not"}:
            return Filter(self._json["not"])
        return Filter({"not": self._json})

    def _joined(self, word: str, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        parts: list[Any] = []
        for part in (self._json, other._json):
            # One level for any number of them: the API takes eight.
            parts.extend(part[word] if set(part) == {word} else [part])
        return Filter({word: parts})

    def __bool__(self) -> bool:
        raise TypeError(
            "a condition is neither true nor false: join with & and |, each side in parentheses; "
            "for a range use between() or (a <= attr(x)) & (attr(x) < b)"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self._json == other._json

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Filter({self._json!r})"


class Attr:
    """An attribute to be compared: `attr("temperature") > 70`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = check_name("attribute", name)

    def _compare(self, **comparisons: Any) -> Filter:
        for word, value in comparisons.items():
            if value is None:
                raise BadInput(f"{self.name} {word}", "nothing is stored as None: use exists(), or ~exists()")
        return Filter({"attribute": self.name, **comparisons})

    def __eq__(self, value: Value) -> Filter:  # type: ignore[override]
        return self._compare(eq=value)

    def __ne__(self, value: Value) -> Filter:  # type: ignore[override]
        """It is not so, also where the attribute is missing."""
        return ~self._compare(eq=value)

    def __gt__(self, value: Value) -> Filter:
        return self._compare(gt=value)

    def __ge__(self, value: Value) -> Filter:
        return self._compare(gte=value)

    def __lt__(self, value: Value) -> Filter:
        return self._compare(lt=value)

    def __le__(self, value: Value) -> Filter:
        return self._compare(lte=value)

    def between(self, least: Value, most: Value) -> Filter:
        """Both ends included."""
        return self._compare(gte=least, lte=most)

    def isin(self, values: Iterable[Value]) -> Filter:
        """One of these, 1 to 1000."""
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise BadInput(f"{self.name} in", f"{values!r:.80} is no list of values")
        return self._compare(**{"in": list(values)})

    def exists(self) -> Filter:
        """The entity has the attribute."""
        return self._compare(exists=True)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"attr({self.name!r})"


def attr(name: str) -> Attr:
    """An attribute to be compared."""
    return Attr(name)


def at_least(k: int, *conditions: Filter) -> Filter:
    """At least `k` of the conditions hold."""
    for condition in conditions:
        if not isinstance(condition, Filter):
            raise BadInput("at_least", f"{condition!r:.80} is no condition such as attr('temperature') > 70")
    if not conditions:
        raise BadInput("at_least", "has no conditions: give some after the number")
    number = check_number("at_least", k, len(conditions))
    return Filter({"at_least": {"k": number, "of": [c.to_dict() for c in conditions]}})
