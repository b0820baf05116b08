"""What componentize-py binds to the world: the author's class in `plugin.py`, by the kit."""

import eaves_plugin
import plugin
from eaves_plugin._abi import Validation as Validation

_subclasses = [
    value
    for value in vars(plugin).values()
    if isinstance(value, type) and issubclass(value, eaves_plugin.Plugin) and value is not eaves_plugin.Plugin
]
if len(_subclasses) != 1:
    raise TypeError(f"src/plugin.py defines {len(_subclasses)} subclasses of Plugin; there must be one")
Validation.author = _subclasses[0]
