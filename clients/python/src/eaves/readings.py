"""Readings, and how they are sent: in portions that the API takes, repeated where it refused for now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Union

from ._core import Answer, Core, Flow, Operation, Pause, Request
from ._decode import build
from .errors import ApiError, BadInput, BadRequest, EavesError, FieldError, Rejected, renumbered
from .values import Time, Value, ValueType, aware, check_name, plain, time_text, write_json

__all__ = ["Reading", "SendResult"]

#: What the API takes at once (docs/api.md).
MOST_READINGS = 10_000
MOST_BYTES = 4 * 1024 * 1024
_FIELDS = frozenset({"tenant", "entity", "type", "observed_at", "traceparent", "values"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One message of one device: an entity, a time, and the values seen then."""

    #: The tenant's own name for the device or asset.
    entity: str
    #: When the values were seen, with a zone.
    observed_at: Time
    #: By attribute. A `Decimal` is sent as a decimal, a `datetime` as a timestamp, `3.0` as a float.
    values: Mapping[str, Value]
    #: What the entity is.
    type: str | None = None
    #: What sent it (W3C Trace Context).
    traceparent: str | None = None


#: What `send` takes: a reading, or one as the wire format writes it.
AnyReading = Union[Reading, Mapping[str, Any]]  # noqa: UP007


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of the readings of one call. Accepted means: on the stream."""

    accepted_readings: int = 0
    accepted_values: int = 0
    #: Readings and values that were not taken.
    rejected: int = 0
    #: Which, and why. The API lists the first 100 of a request.
    rejections: tuple[FieldError, ...] = ()
    #: A read with it (`token=`) has all that was accepted. `None` if nothing was.
    token: str | None = None

    @property
    def unlisted(self) -> int:
        """How many of the rejected are not in `rejections`. A smaller `batch_size` lists more."""
        return max(0, self.rejected - len(self.rejections))

    def raise_for_rejections(self) -> SendResult:
        """This, or `Rejected` if something was not taken."""
        if self.rejected:
            raise Rejected(self)
        return self

    def __add__(self, other: SendResult) -> SendResult:
        return SendResult(
            self.accepted_readings + other.accepted_readings,
            self.accepted_values + other.accepted_values,
            self.rejected + other.rejected,
            self.rejections + other.rejections,
            # Each request has the token of the one before, and its answer's covers both.
            other.token or self.token,
        )


@dataclass(frozen=True, slots=True)
class Encoded:
    """A reading as JSON, with its number in the call."""

    number: int
    json: bytes


def encode(reading: AnyReading, number: int) -> Encoded:
    """A reading as JSON. Refuses what the wire format cannot say, naming its place."""
    at = f"[{number}]"
    if isinstance(reading, Reading):
        given: Mapping[str, Any] = {
            "entity": reading.entity,
            "type": reading.type,
            "observed_at": reading.observed_at,
            "traceparent": reading.traceparent,
            "values": reading.values,
        }
    elif isinstance(reading, Mapping):
        given = reading
    else:
        raise BadInput(at, f"{type(reading).__name__} is neither a Reading nor a dict")
    for key in given:
        if key not in _FIELDS:
            raise BadInput(
                f"{at}.{key}", f"a reading has no such field; known are {', '.join(sorted(_FIELDS))}"
            )
    out: dict[str, Any] = {key: v for key, v in given.items() if v is not None}
    for key in ("entity", "observed_at", "values"):
        if key not in out:
            raise BadInput(f"{at}.{key}", "is missing")
    for key in ("tenant", "entity", "type"):
        if key in out:
            check_name(f"{at}.{key}", out[key])
    out["observed_at"] = time_text(aware(f"{at}.observed_at", out["observed_at"]))
    values = out["values"]
    if not isinstance(values, Mapping) or not values:
        raise BadInput(f"{at}.values", "is not a dict of attribute names with values, at least one")
    out["values"] = {
        check_name(f"{at}.values", key): wire_value(v, f"{at}.values.{key}") for key, v in values.items()
    }
    return Encoded(number, write_json(out, at).encode())


def wire_value(value: Any, field: str) -> Any:
    """A value as the wire format writes it, its type named where JSON has none."""
    value = plain(value)
    if isinstance(value, Mapping):
        if set(value) != {"type", "value"} or value["type"] not in [t.value for t in ValueType]:
            raise BadInput(
                field, 'is an object: only {"type": …, "value": …} with a type of Eaves can be sent'
            )
        inner = wire_value(value["value"], f"{field}.value")
        return {"type": str(value["type"]), "value": inner["value"] if isinstance(inner, dict) else inner}
    if value is None or isinstance(value, (list, tuple, set, bytes)):
        raise BadInput(
            field, f"{value!r:.40} cannot be sent: leave out what has no value; there are no lists"
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadInput(field, f"{value} is beyond 64 bits: send a Decimal or a float")
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise BadInput(field, f"{value} cannot be sent: leave out what has no value")
        return {"type": "decimal", "value": str(value)}
    if isinstance(value, datetime):
        return {"type": "timestamp", "value": time_text(aware(field, value))}
    write_json(value, field)
    return value


def portions(
    readings: AnyReading | Iterable[AnyReading], batch_size: int, most_bytes: int = MOST_BYTES
) -> Iterator[list[Encoded]]:
    """The readings in portions within the API's limits, made as they are needed."""
    if isinstance(readings, (Reading, Mapping)):
        readings = [readings]
    portion: list[Encoded] = []
    size = 1
    for number, reading in enumerate(readings):
        encoded = encode(reading, number)
        # Each stands beside a bracket or comma.
        length = len(encoded.json) + 1
        if length + 1 > most_bytes:
            raise BadInput(f"[{number}]", f"has {length - 1} bytes: {most_bytes} can be sent at once")
        if portion and size + length > most_bytes:
            yield portion
            portion, size = [], 1
        portion.append(encoded)
        size += length
        if len(portion) == batch_size:
            yield portion
            portion, size = [], 1
    if portion:
        yield portion


@dataclass(frozen=True, slots=True)
class _Telemetry:
    """The answer to one portion."""

    accepted_readings: int
    accepted_values: int
    rejected: int
    rejections: tuple[FieldError, ...]
    token: str | None = None


def post(portion: list[Encoded], token: str | None = None) -> Operation[_Telemetry]:
    """One portion. A point has an identity, so sending it twice makes one point (docs/points.md)."""

    def decode(answer: Answer) -> _Telemetry:
        return build(_Telemetry, answer.json)

    body = b"[" + b",".join(e.json for e in portion) + b"]"
    query = () if token is None else (("token", token),)
    return Operation(Request("POST", ("v1", "telemetry"), query, body), decode)


@dataclass(slots=True)
class _Tally:
    """What became of the readings so far."""

    result: SendResult = SendResult()
    #: A portion of which nothing could be accepted.
    refused: BadRequest | None = None

    def add(self, answer: _Telemetry, rejections: tuple[FieldError, ...], rejected: int) -> None:
        self.result += SendResult(
            answer.accepted_readings, answer.accepted_values, rejected, rejections, answer.token
        )


def send(core: Core, readings: AnyReading | Iterable[AnyReading], batch_size: int) -> Flow[SendResult]:
    """Sends all readings, portion by portion."""
    if (
        isinstance(batch_size, bool)
        or not isinstance(batch_size, int)
        or not 1 <= batch_size <= MOST_READINGS
    ):
        raise BadInput("batch_size", f"{batch_size!r} is not from 1 to {MOST_READINGS}")
    tally = _Tally()
    try:
        cut: Iterable[list[Encoded]] = portions(readings, batch_size)
        if isinstance(readings, (list, tuple)):
            # All there: if one is wrong, none is sent.
            cut = list(cut)
        for portion in cut:
            yield from _send(core, portion, tally, 1)
        if tally.refused is not None and tally.result.accepted_readings == 0:
            raise tally.refused
    except EavesError as e:
        e.partial = tally.result
        raise
    return tally.result


def _send(core: Core, portion: list[Encoded], tally: _Tally, attempt: int) -> Flow[None]:
    number = {place: e.number for place, e in enumerate(portion)}
    try:
        answer = yield from core.call(post(portion, tally.result.token))
    except ApiError as e:
        error = e.renumbered(number)
        if isinstance(error, BadRequest) and error.errors:
            # Nothing of this portion can be accepted: its neighbours can all the same.
            tally.refused = tally.refused or error
            tally.result += SendResult(rejected=max(len(portion), len(error.errors)), rejections=error.errors)
            return
        raise error from e
    if answer.rejected > len(answer.rejections) and answer.accepted_readings < len(portion) > 1:
        # More was refused than is listed: among it may be what should be sent again. Points that
        # were taken and are sent again are the same points.
        size = max(1, min(100, len(portion) // 10))
        for start in range(0, len(portion), size):
            yield from _send(core, portion[start : start + size], tally, attempt)
        return
    listed = tuple(replace(r, field=renumbered(r.field, number)) for r in answer.rejections)
    places = {r.field.partition("]")[0] for r in answer.rejections if r.code == "not_sent"}
    again = [e for place, e in enumerate(portion) if f"[{place}" in places]
    pause = core.retry.pause(attempt, 0.0) if again else None
    if pause is None:
        tally.add(answer, listed, answer.rejected)
        return
    kept = tuple(r for r in listed if r.code != "not_sent")
    tally.add(answer, kept, answer.rejected - (len(listed) - len(kept)))
    yield Pause(pause)
    yield from _send(core, again, tally, attempt + 1)
