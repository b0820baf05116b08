"""Values and times: exact in both directions.

| Type of the attribute | In Python |
|---|---|
| string | `str` |
| integer (64 bits) | `int` |
| float | `float` |
| decimal (28 digits, trailing zeros kept) | `decimal.Decimal` |
| boolean | `bool` |
| timestamp | `datetime.datetime` in UTC; `FarTimestamp` outside the years 1 to 9999 |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Union

from .errors import BadInput

__all__ = ["FarTimestamp", "Time", "Value", "ValueType"]

#: A value of an attribute.
Value = Union[str, int, float, Decimal, bool, datetime]  # noqa: UP007 (shown in help as it stands)
#: A value that is a number.
Number = Union[int, float, Decimal]  # noqa: UP007
#: A mean: a `Decimal`, of floats a `float`.
Mean = Union[Decimal, float]  # noqa: UP007
#: A time with a zone, or its RFC 3339 text.
Time = Union[datetime, str]  # noqa: UP007

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


class OpenEnum(str, Enum):
    """Names that a newer platform may add to: an unknown one is kept as it is."""

    __str__ = str.__str__
    __hash__ = str.__hash__

    @classmethod
    def _missing_(cls, value: object) -> OpenEnum | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = "UNKNOWN"
        unknown._value_ = value
        return unknown


class ValueType(OpenEnum):
    """Type of an attribute."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"


class FarTimestamp(str):
    """The RFC 3339 text of a time that `datetime` cannot hold."""

    __slots__ = ()


def parse_time(text: str) -> datetime:
    """An RFC 3339 time in UTC; digits beyond microseconds are dropped. `ValueError` if it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is not an RFC 3339 time with a zone")
    year, month, day, hour, minute, second = (int(g) for g in match.groups()[:6])
    micros = int((match[7] or "0")[:6].ljust(6, "0"))
    plain = datetime(year, month, day, hour, minute, second, micros, timezone.utc)
    if match[9] is None:
        return plain
    offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
    try:
        return plain - offset if match[9] == "+" else plain + offset
    except OverflowError as e:
        raise ValueError(f"{text!r} is outside the years 1 to 9999") from e


def aware(field: str, value: Time) -> datetime:
    """A time that somebody gave, in UTC."""
    if isinstance(value, datetime):
        try:
            if value.utcoffset() is not None:
                # Not `value.astimezone`: a subclass (pandas' Timestamp) would stay one.
                own = datetime.combine(value.date(), value.time(), value.tzinfo).replace(fold=value.fold)
                return own.astimezone(timezone.utc)
        except (OverflowError, ValueError) as e:  # pandas' NaT is a datetime, too
            raise BadInput(field, f"{value!r} is no time of the years 1 to 9999") from e
        raise BadInput(
            field,
            f"{value.isoformat()} has no time zone: give one, such as "
            "datetime.now(timezone.utc) or .replace(tzinfo=timezone.utc)",
        )
    if isinstance(value, str):
        try:
            return parse_time(value)
        except ValueError as e:
            raise BadInput(field, f"{e}, such as 2026-03-01T12:00:00.25Z") from e
    raise BadInput(field, f"{value!r} is neither a datetime with a zone nor an RFC 3339 text")


def time_text(value: datetime) -> str:
    """RFC 3339 of a time in UTC."""
    return value.isoformat().replace("+00:00", "Z")


def decode_value(value_type: str, raw: Any) -> Value:
    """A value out of JSON that was read with `parse_json`. `ValueError` if it is not of the type."""
    number = isinstance(raw, (int, Decimal)) and not isinstance(raw, bool)
    if value_type == "float" and number:
        real = float(raw)
        if math.isfinite(real):
            return real
    elif value_type == "decimal" and number:
        return Decimal(raw)
    elif (value_type == "integer" and number and not isinstance(raw, Decimal)) or (
        value_type == "boolean" and isinstance(raw, bool)
    ):
        return raw
    elif isinstance(raw, str):
        if value_type == "timestamp":
            try:
                return parse_time(raw)
            except ValueError:
                return FarTimestamp(raw)
        if value_type == "string":
            return raw
    if value_type in ValueType._value2member_map_ or not isinstance(raw, (str, int, Decimal)):
        raise ValueError(f"{raw!r} is not of type {value_type}")
    return raw  # a type that a newer platform has


def figure_type(name: str, value_type: Any) -> Any:
    """The type of a figure of an attribute's values: theirs, but for counts and the means of integers."""
    if name in ("count", "entities"):
        return "integer"
    return "decimal" if name == "avg" and value_type == "integer" else value_type


def parse_json(text: bytes | str) -> Any:
    """JSON with all digits: numbers are `int` or `Decimal`. `ValueError` if it is none."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ArithmeticError, RecursionError) as e:
        raise ValueError(f"unreadable JSON: {e}") from e


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def plain(value: Any) -> Any:
    """A scalar of numpy or pandas as Python's own."""
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "item"):
        return value.item()
    return value


def write_json(value: Any, field: str) -> str:
    """JSON with all digits. Refuses what JSON cannot say, naming where it stands."""
    value = plain(value)
    if value is None or value is True or value is False:
        return json.dumps(value)
    if isinstance(value, str):
        return _text(value, field)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadInput(field, f"{value} cannot be sent: leave out what has no value")
        return float.__repr__(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise BadInput(field, f"{value} cannot be sent: leave out what has no value")
        return str(value)
    if isinstance(value, datetime):
        return f'"{time_text(aware(field, value))}"'
    if isinstance(value, Mapping):
        members = (f"{_text(k, field)}:{write_json(v, f'{field}.{k}')}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(write_json(v, f"{field}[{i}]") for i, v in enumerate(value)) + "]"
    raise BadInput(field, f"{type(value).__name__} cannot be sent")


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise BadInput(field, f"{value!r} is not a text")
    _check_unicode(field, value)
    return json.dumps(str(value), ensure_ascii=False)


def _check_unicode(field: str, value: str) -> None:
    try:
        str.encode(value)
    except UnicodeEncodeError as e:
        raise BadInput(field, "has half a surrogate pair, which UTF-8 cannot say") from e


def check_name(field: str, name: object) -> str:
    """A name as the platform takes it: 1 to 255 characters, no control characters."""
    if not isinstance(name, str):
        raise BadInput(field, f"{name!r} is not a text")
    if not 1 <= len(name) <= 255:
        raise BadInput(field, f"has {len(name)} characters: give a name of 1 to 255")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        raise BadInput(field, f"{name!r} has control characters")
    _check_unicode(field, name)
    return name


def check_choice(field: str, value: object, known: Iterable[str]) -> str:
    """One of the words that the platform knows there."""
    words = list(known)
    if value not in words:
        raise BadInput(field, f"{value!r:.80} is none of {', '.join(words)}")
    return str(value)


def check_number(field: str, value: object, most: int | None = None) -> int:
    """A number from 1 on, to `most` if there is one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most and value > most):
        raise BadInput(field, f"{value!r:.80} is not a number from 1" + (f" to {most}" if most else ""))
    return value


def check_names(field: str, given: Iterable[str], least: int, most: int | None, *, what: str) -> list[str]:
    """So many names, each once."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        kind = "a text" if isinstance(given, (str, bytes)) else repr(given)[:80]
        raise BadInput(field, f"is {kind}: give a list of {what}")
    names = [check_name(field, name) for name in given]
    if len(names) < least or (most is not None and len(names) > most):
        right = f"{least} or more" if most is None else f"{least} to {most}"
        raise BadInput(field, f"has {len(names)} names: give {right}")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadInput(field, f"names {name!r} twice")
        seen.add(name)
    return names
