"""What could not be taken."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._decode import build


@dataclass(frozen=True, slots=True)
class QuarantineItem:
    """Something that could not be taken."""

    id: int
    #: `record`, `value` or `derived`.
    kind: str
    #: `open`, `redriving`, `redriven`, `refused` or `dropped`.
    state: str
    #: The reason's stable code.
    reason: str
    field: str
    message: str
    pieces: int
    plugin_digest: str | None
    shard: str
    sequence: str
    sub: int
    created_at: datetime
    attempts: int
    redrive_of: int | None
    changed_at: datetime | None
    changed_by: str | None
    changed_why: str | None
    settled_at: datetime | None
    taken_again: int | None
    refused_again: int | None


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    """A page of the quarantine, newest first."""

    items: tuple[QuarantineItem, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row of the quarantine with what it holds."""

    item: QuarantineItem
    #: The payload, if it is JSON; numbers are `int` and `Decimal`, with all digits.
    payload: Any
    #: The payload, if it is not JSON. Neither is there if the row was dropped.
    payload_bytes: bytes | None

    @classmethod
    def _of(cls, raw: Any) -> Quarantined:
        text = raw.get("payload_base64")
        try:
            other = None if text is None else base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError) as e:
            raise ValueError(f"payload_base64: {e}") from e
        return build(cls, raw, payload_bytes=other)


@dataclass(frozen=True, slots=True)
class NotSent:
    """A row that could not be sent."""

    id: int
    why: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """What is on its way out of the quarantine."""

    #: Rows that the conditions find, those sent now included.
    found: int
    #: Values in them.
    pieces: int
    #: Rows whose record is in the stream now.
    sent: tuple[int, ...]
    #: Rows that could not be sent: redrive them again.
    not_sent: tuple[NotSent, ...]
