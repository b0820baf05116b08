"""What the platform answers with, as frozen dataclasses."""

from .attributes import Attribute, AttributePage, AttributeQueries, AttributeWrites, DayFigures
from .entities import AttributeValue, BatchItem, BatchPage, Entity, EntityPage, Reason
from .platform import Health
from .quarantine import NotSent, Quarantined, QuarantineItem, QuarantinePage, Redriven
from .series import HistoryPage, Point, Superseded

__all__ = [
    "Attribute",
    "AttributePage",
    "AttributeQueries",
    "AttributeValue",
    "AttributeWrites",
    "BatchItem",
    "BatchPage",
    "DayFigures",
    "Entity",
    "EntityPage",
    "Health",
    "HistoryPage",
    "NotSent",
    "Point",
    "QuarantineItem",
    "QuarantinePage",
    "Quarantined",
    "Reason",
    "Redriven",
    "Superseded",
]
