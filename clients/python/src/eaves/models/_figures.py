"""What is computed of the values of a window of time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from .._decode import exact, member
from ..values import Mean, Value, figure_type


def window_of(raw: Any) -> tuple[datetime, datetime]:
    """The window that an answer covers, by its metadata."""
    about = raw["metadata"]
    return member(datetime, about, "metadata", "from"), member(datetime, about, "metadata", "to")


def figure(raw: Any, path: str, value_type: Any, name: str) -> Value | None:
    """A figure of the values of an attribute; `None` where it makes no sense for the type."""
    if isinstance(raw, dict) and name in raw and raw[name] is None:
        return None
    return exact(raw, path, figure_type(name, value_type), name)


def bound(raw: Any, path: str, value_type: Any, name: str) -> Mean:
    """A bound between values: as a mean, it is between integers."""
    return cast("Mean", exact(raw, path, figure_type("avg", value_type), name))
