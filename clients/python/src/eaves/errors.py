"""What can go wrong, as exceptions.

`BadInput` is raised before anything is sent. `ConnectionFailed` means that there was no answer,
`ApiError` and its subclasses that the answer was an error: a problem detail (RFC 9457), or what
API Gateway says by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .readings import SendResult

__all__ = [
    "ApiError",
    "BadInput",
    "BadRequest",
    "Conflict",
    "ConnectionFailed",
    "EavesError",
    "Estimate",
    "FieldError",
    "Forbidden",
    "NotFound",
    "Problem",
    "ProtocolError",
    "QuotaExceeded",
    "RateLimited",
    "Rejected",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
]


class EavesError(Exception):
    """All errors of this package."""

    #: How often the request was sent.
    attempts: int = 0
    #: Of `send`: what was taken before it failed. To send everything again is safe.
    partial: SendResult | None = None


class BadInput(EavesError, ValueError):
    """An argument cannot be right; it was not sent."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ConnectionFailed(EavesError):
    """There was no answer: the address is wrong, or nobody listens, or the connection broke."""


class TimedOut(ConnectionFailed):
    """There was no answer within the time allowed."""


class ProtocolError(EavesError):
    """The answer is none that this version of the client understands."""


class Rejected(EavesError):
    """Some of the readings were not taken (`SendResult.raise_for_rejections`)."""

    def __init__(self, result: SendResult) -> None:
        super().__init__(result)
        self.partial = result

    def __str__(self) -> str:
        result = self.partial
        if result is None:
            return "readings were not taken"
        first = f", first {result.rejections[0]}" if result.rejections else ""
        return f"{result.rejected} of the readings and values were not taken{first}"


@dataclass(frozen=True, slots=True)
class FieldError:
    """A place in the body that is wrong."""

    #: Where, such as `[3].values.temperature`; the number counts the readings given to `send`.
    field: str
    #: The reason's stable code, such as `type_mismatch`.
    code: str
    #: What is wrong, and what would be right.
    message: str

    def __str__(self) -> str:
        return f"{self.field} ({self.code}): {self.message}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the planner expects of a question that costs too much (`too-expensive`)."""

    #: Most rows that a step of it handles.
    rows: float
    #: In the planner's units.
    cost: float
    #: What it may cost.
    limit: float


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem detail."""

    #: The HTTP status.
    status: int
    #: The kind, such as `bad-parameter`; empty if it is no problem detail.
    kind: str
    #: The kind in words.
    title: str
    #: What is wrong here, and what would be right.
    detail: str
    #: The parameter, or the place in the body.
    field: str | None = None
    #: All places in the body, where there can be several.
    errors: tuple[FieldError, ...] = ()
    #: When to try again, in seconds.
    retry_after: float | None = None
    #: What was asked: `GET /v1/entities/pump-7`.
    request: str = ""
    #: Of a question that would cost too much.
    estimate: Estimate | None = None


class ApiError(EavesError):
    """An answer that is an error."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem

    @staticmethod
    def of(problem: Problem) -> ApiError:
        """The exception for a problem."""
        if problem.kind == "not-yet":
            return NotYet(problem)
        if problem.kind == "quota-exceeded":
            return QuotaExceeded(problem)
        kind = _KINDS.get(problem.status, ServerError if problem.status >= 500 else ApiError)
        return kind(problem)

    def renumbered(self, number: dict[int, int]) -> ApiError:
        """The same with the numbers of readings in fields replaced."""
        field = self.problem.field
        moved = replace(
            self.problem,
            field=renumbered(field, number) if field else field,
            errors=tuple(replace(e, field=renumbered(e.field, number)) for e in self.problem.errors),
        )
        error = ApiError.of(moved)
        error.attempts = self.attempts
        return error

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def detail(self) -> str:
        """What is wrong, and what would be right."""
        return self.problem.detail

    @property
    def field(self) -> str | None:
        """The parameter, or the place in the body, that is wrong."""
        return self.problem.field

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """All places in the body that are wrong, where there can be several."""
        return self.problem.errors

    @property
    def retry_after(self) -> float | None:
        """When to try again, in seconds, if the answer says so."""
        return self.problem.retry_after

    def __str__(self) -> str:
        p = self.problem
        where = f"{p.field}: " if p.field else ""
        text = f"{p.request}: {p.status} {where}{p.detail or p.title}"
        if p.errors:
            more = f" and {len(p.errors) - 1} more" if len(p.errors) > 1 else ""
            text += f" ({p.errors[0]}{more})"
        return text


def renumbered(field: str, number: dict[int, int]) -> str:
    """`[0].values.x` with the number that reading 0 has elsewhere."""
    if not field.startswith("["):
        return field
    digits, bracket, rest = field[1:].partition("]")
    if not bracket or not digits.isdecimal() or int(digits) not in number:
        return field
    return f"[{number[int(digits)]}]{rest}"


class BadRequest(ApiError):
    """400: `field` or `errors` name what is wrong."""


class Unauthorized(ApiError):
    """401: the token is not valid, or not any more."""


class Forbidden(ApiError):
    """403: the token lacks a scope, or a reading names another tenant."""


class NotFound(ApiError):
    """404: the entity, attribute or row is not there."""


class Conflict(ApiError):
    """409: the quarantine row is settled already."""


class TooLarge(ApiError):
    """413: the body is too large."""


class RateLimited(ApiError):
    """429: too many requests; see `retry_after`."""


class QuotaExceeded(RateLimited):
    """429: the tenant has had what it may have in a day; `retry_after` is the time until midnight UTC."""


class ServerError(ApiError):
    """5xx: something went wrong there."""


class Unavailable(ServerError):
    """502, 503 or 504: no source can answer now; see `retry_after`."""


class NotYet(Unavailable):
    """503: what the `token` names has not arrived yet. It is on its way: ask again."""


_KINDS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
