"""Write a plugin for Eaves as a method over one value.

Subclass `Plugin` in `src/plugin.py` and run `eaves plugin build`. The columns of the WIT package
are hidden in `_abi`. There is no clock, no randomness, no files and no output."""

from ._checks import one_of, pattern, range_, rate
from ._values import Attribute, Plugin, Previous, Reading, SettingsFault, Timestamp, Value, ValueType
from ._values import Verdict, accept, reject, replace

__all__ = [
    "Attribute",
    "Plugin",
    "Previous",
    "Reading",
    "SettingsFault",
    "Timestamp",
    "Value",
    "ValueType",
    "Verdict",
    "accept",
    "one_of",
    "pattern",
    "range_",
    "rate",
    "reject",
    "replace",
]
