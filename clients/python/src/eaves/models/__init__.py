"""What the platform answers with, as frozen dataclasses."""

from .attributes import Attribute, AttributePage, AttributeQueries, AttributeWrites, DayFigures
from .entities import AttributeValue, BatchItem, BatchPage, Entity, EntityPage, Reason
from .figures import AggregateGroup, Aggregates, Distribution, HistogramBucket, ValueCount
from .hot import DecidingPlugin, HotChange, HotChanges, HotDecision, HotDecisionPage, HotRun, HotState
from .platform import Health
from .quarantine import NotSent, Quarantined, QuarantineItem, QuarantinePage, Redriven
from .series import (
    Bucket,
    BucketPage,
    BucketSeries,
    HistoryPage,
    LatestValues,
    Point,
    Series,
    SeriesPage,
    SeriesPoint,
    Superseded,
)
from .tenant import Tenant

__all__ = [
    "AggregateGroup",
    "Aggregates",
    "Attribute",
    "AttributePage",
    "AttributeQueries",
    "AttributeValue",
    "AttributeWrites",
    "BatchItem",
    "BatchPage",
    "Bucket",
    "BucketPage",
    "BucketSeries",
    "DayFigures",
    "DecidingPlugin",
    "Distribution",
    "Entity",
    "EntityPage",
    "Health",
    "HistogramBucket",
    "HistoryPage",
    "HotChange",
    "HotChanges",
    "HotDecision",
    "HotDecisionPage",
    "HotRun",
    "HotState",
    "LatestValues",
    "NotSent",
    "Point",
    "QuarantineItem",
    "QuarantinePage",
    "Quarantined",
    "Reason",
    "Redriven",
    "Series",
    "SeriesPage",
    "SeriesPoint",
    "Superseded",
    "Tenant",
    "ValueCount",
]
