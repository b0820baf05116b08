"""What can be asked: one function for each, shared by both clients.

A function returns an `Operation` (one request and what its answer means) or a `Listing` (an answer in
pages). To add an endpoint, write its function in the module of its subject, name it here, and in both
classes of `client.py`. What every read takes is `Demand`; what several take is checked in `_given`.
"""

from .attributes import declare_attribute, describe_attribute, list_attributes, update_attribute
from .entities import get_entities, get_entity, list_entities, search
from .figures import aggregate, distribution
from .hot import (
    demote_attribute,
    hot_changes,
    list_hot_decisions,
    pin_attribute,
    promote_attribute,
    unpin_attribute,
)
from .platform import freshness, health, openapi
from .quarantine import drop_quarantined, get_quarantined, list_quarantine, redrive, redrive_matching
from .series import buckets, histories, history, latest
from .tenant import get_tenant, update_tenant

__all__ = [
    "aggregate",
    "buckets",
    "declare_attribute",
    "demote_attribute",
    "describe_attribute",
    "distribution",
    "drop_quarantined",
    "freshness",
    "get_entities",
    "get_entity",
    "get_quarantined",
    "get_tenant",
    "health",
    "histories",
    "history",
    "hot_changes",
    "latest",
    "list_attributes",
    "list_entities",
    "list_hot_decisions",
    "list_quarantine",
    "openapi",
    "pin_attribute",
    "promote_attribute",
    "redrive",
    "redrive_matching",
    "search",
    "unpin_attribute",
    "update_attribute",
    "update_tenant",
]
