"""What the platform answers with, as frozen dataclasses."""

from .attributes import Attribute, AttributePage, AttributeQueries, AttributeWrites, DayFigures
from .entities import AttributeValue, Entity, SearchPage
from .platform import Health
from .quarantine import NotSent, Quarantined, QuarantineItem, QuarantinePage, Redriven
from .series import HistoryPage, Point, Superseded

__all__ = [
    "Attribute",
    "AttributePage",
    "AttributeQueries",
    "AttributeValue",
    "AttributeWrites",
    "DayFigures",
    "Entity",
    "Health",
    "HistoryPage",
    "NotSent",
    "Point",
    "QuarantineItem",
    "QuarantinePage",
    "Quarantined",
    "Redriven",
    "SearchPage",
    "Superseded",
]
