"""What can be asked: one function for each, shared by both clients.

A function returns an `Operation` (one request and what its answer means) or a `Listing` (an answer in
pages). To add an endpoint, write its function in the module of its subject, name it here, and in both
classes of `client.py`. What every read takes is `Demand`; what several take is checked in `_given`.
"""

from .attributes import describe_attribute, list_attributes
from .entities import get_entities, get_entity, list_entities, search
from .platform import freshness, health, openapi
from .quarantine import drop_quarantined, get_quarantined, list_quarantine, redrive, redrive_matching
from .series import history

__all__ = [
    "describe_attribute",
    "drop_quarantined",
    "freshness",
    "get_entities",
    "get_entity",
    "get_quarantined",
    "health",
    "history",
    "list_attributes",
    "list_entities",
    "list_quarantine",
    "openapi",
    "redrive",
    "redrive_matching",
    "search",
]
