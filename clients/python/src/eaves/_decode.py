"""JSON into dataclasses, by their annotations.

Members that a class does not have are ignored: a newer platform may send more. One that is
missing, or of another type, is a `ValueError` that names its path.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .values import OpenEnum, Value, decode_value, parse_time

T = TypeVar("T")


def build(cls: type[T], data: Any, path: str = "", **given: Any) -> T:
    """An instance of a dataclass; `given` are fields that do not come from `data`."""
    if not isinstance(data, dict):
        raise ValueError(f"{path or 'the answer'} is not an object")
    for name, hint, optional in _members(cast("Any", cls)):
        if name in given:
            continue
        if name in data:
            given[name] = _value(hint, data[name], f"{path}.{name}" if path else name)
        elif not optional:
            raise ValueError(f"{path or 'the answer'} has no {name}")
    return cls(**given)


@functools.cache
def _members(cls: Any) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(cls)
    return tuple(
        (f.name, hints[f.name], f.default is not MISSING or f.default_factory is not MISSING)
        for f in fields(cls)
    )


def _value(hint: Any, raw: Any, path: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return raw
    if origin in (Union, types.UnionType):
        if raw is None:
            return None
        (inner,) = (a for a in args if a is not type(None))
        return _value(inner, raw, path)
    if origin is tuple and isinstance(raw, list):
        return tuple(_value(args[0], r, f"{path}[{i}]") for i, r in enumerate(raw))
    if origin is Mapping and isinstance(raw, dict):
        return {name: _value(args[1], r, f"{path}.{name}") for name, r in raw.items()}
    if isinstance(hint, type):
        if is_dataclass(hint):
            # A class that knows better than its annotations.
            own = getattr(hint, "_from_json", None)
            return own(raw, path) if own is not None else build(cast("type[Any]", hint), raw, path)
        if hint is float and isinstance(raw, (int, Decimal)) and not isinstance(raw, bool):
            real = float(raw)
            if math.isfinite(real):
                return real
        elif hint is datetime and isinstance(raw, str):
            return parse_time(raw)
        elif issubclass(hint, OpenEnum) and isinstance(raw, str):
            return hint(raw)
        elif hint in (bool, str, int) and type(raw) is hint:
            return raw
    raise ValueError(f"{path} is {type(raw).__name__}, which it cannot be")


def exact(raw: Any, path: str, value_type: Any, member: str = "value") -> Value:
    """The value in an object, of the type that the attribute has."""
    if not isinstance(raw, dict) or member not in raw or not isinstance(value_type, str):
        raise ValueError(f"{path} has no {member} or no type")
    try:
        return decode_value(value_type, raw[member])
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def listed(raw: Any, name: str) -> list[Any]:
    """The list in an object."""
    found = raw.get(name)
    if not isinstance(found, list):
        raise ValueError(f"{name} is not a list")
    return found


def member(hint: type[T], raw: Any, path: str, name: str) -> T:
    """One member of an object, where it does not stand as a dataclass has it."""
    if not isinstance(raw, dict) or name not in raw:
        raise ValueError(f"{path} has no {name}")
    return cast("T", _value(hint, raw[name], f"{path}.{name}"))
