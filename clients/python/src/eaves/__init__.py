"""Client of Eaves: send readings of devices, ask for them, be told how fresh the answer is.

```python
import eaves

with eaves.Client() as client:  # EAVES_URL, EAVES_TOKEN
    entity = client.get_entity("device-123", consistency="strong")
    print(entity["temperature"], entity.metadata)
```
"""

from ._paging import AsyncPages, Pages
from ._version import __version__
from .client import AsyncClient, Client
from .errors import (
    ApiError,
    BadInput,
    BadRequest,
    Conflict,
    ConnectionFailed,
    EavesError,
    FieldError,
    Forbidden,
    NotFound,
    Problem,
    ProtocolError,
    RateLimited,
    Rejected,
    ServerError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from .filters import Attr, Filter, attr
from .freshness import (
    CacheState,
    Consistency,
    FlushState,
    FollowerState,
    FreshnessReport,
    Metadata,
    PrimaryState,
    Purpose,
    ReplicaState,
    SlotState,
    Source,
    StagingState,
    Tier,
)
from .models import (
    Attribute,
    AttributePage,
    AttributeQueries,
    AttributeValue,
    AttributeWrites,
    DayFigures,
    Entity,
    Health,
    HistoryPage,
    NotSent,
    Point,
    Quarantined,
    QuarantineItem,
    QuarantinePage,
    Redriven,
    SearchPage,
    Superseded,
)
from .readings import Reading, SendResult
from .retry import Retry
from .values import FarTimestamp, Time, Value, ValueType

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncPages",
    "Attr",
    "Attribute",
    "AttributePage",
    "AttributeQueries",
    "AttributeValue",
    "AttributeWrites",
    "BadInput",
    "BadRequest",
    "CacheState",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Consistency",
    "DayFigures",
    "EavesError",
    "Entity",
    "FarTimestamp",
    "FieldError",
    "Filter",
    "FlushState",
    "FollowerState",
    "Forbidden",
    "FreshnessReport",
    "Health",
    "HistoryPage",
    "Metadata",
    "NotFound",
    "NotSent",
    "Pages",
    "Point",
    "PrimaryState",
    "Problem",
    "ProtocolError",
    "Purpose",
    "QuarantineItem",
    "QuarantinePage",
    "Quarantined",
    "RateLimited",
    "Reading",
    "Redriven",
    "Rejected",
    "ReplicaState",
    "Retry",
    "SearchPage",
    "SendResult",
    "ServerError",
    "SlotState",
    "Source",
    "StagingState",
    "Superseded",
    "Tier",
    "Time",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "Value",
    "ValueType",
    "__version__",
    "attr",
]
