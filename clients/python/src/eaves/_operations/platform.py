"""The platform itself."""

from __future__ import annotations

import json
from typing import Any

from .._core import Operation, Request
from .._decode import build
from ..freshness import FreshnessReport
from ..models import Health


def freshness() -> Operation[FreshnessReport]:
    """How far the primary, the replica, staging, flush and cache are, measured now."""
    return Operation(Request("GET", ("v1", "freshness")), lambda a: build(FreshnessReport, a.json))


def openapi() -> Operation[dict[str, Any]]:
    """The description of the API (OpenAPI 3.1). Needs no token."""
    return Operation(Request("GET", ("openapi.json",)), lambda a: {**json.loads(a.body)}, authorized=False)


def health() -> Operation[Health]:
    """That the query function runs. Needs no token."""
    return Operation(Request("GET", ("healthz",)), lambda a: build(Health, a.json), authorized=False)
