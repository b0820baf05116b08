"""What both clients share: how a request is made, judged, repeated and decoded. Nothing here does I/O.

A *flow* is a generator. It yields what is to be done (`Send`, `Pause`, `Fetch`), is sent what came of
it, and returns a result. `Client` does these things one after the other, `AsyncClient` awaits them.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, Union
from urllib.parse import quote, urlencode, urlsplit

from ._decode import build
from ._version import __version__
from .errors import ApiError, BadInput, ConnectionFailed, Estimate, FieldError, Problem, ProtocolError
from .retry import RETRIED, Retry, retry_after
from .values import check_name, parse_json, write_json

T = TypeVar("T")

#: What `token=` takes: a token, or what fetches one.
AnyToken = Union[str, Callable[[], Union[str, Awaitable[str]]]]  # noqa: UP007


@dataclass(frozen=True, slots=True)
class Request:
    """A request before it has an address."""

    method: str
    #: The path's parts, names as `Name`.
    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @classmethod
    def post(cls, path: tuple[str, ...], body: Any, query: tuple[tuple[str, str], ...] = ()) -> Request:
        """A POST of JSON."""
        return cls("POST", path, query, write_json(body, "body").encode())

    @classmethod
    def patch(cls, path: tuple[str, ...], body: Any) -> Request:
        """A PATCH of JSON."""
        return replace(cls.post(path, body), method="PATCH")

    @classmethod
    def put(cls, path: tuple[str, ...], body: Any) -> Request:
        """A PUT of JSON."""
        return replace(cls.post(path, body), method="PUT")

    def target(self) -> str:
        """Path and query. Names are escaped twice: API Gateway decodes a path once before the
        function splits it, and a slash in a name must survive that."""
        parts = (p.escaped() if isinstance(p, Name) else p for p in self.path)
        path = "/" + "/".join(quote(p, safe="") for p in parts)
        return path + ("?" + urlencode(self.query, quote_via=quote) if self.query else "")

    def __str__(self) -> str:
        return f"{self.method} {self.target()}"


class Name(str):
    """A part of a path that somebody named. `search` may be the name of a device, too."""

    __slots__ = ()

    def escaped(self) -> str:
        """With every character that could mean something else escaped."""
        text = quote(self, safe="")
        if text in _WORDS:
            return "".join(f"%{ord(c):02X}" for c in text)
        return text


#: What stands, or may come to stand, in the API's own paths beside names.
_WORDS = frozenset({"search", "batch", "list", "latest", "aggregate"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with."""

    #: Numbers are `int` and `Decimal`.
    json: Any
    #: Names in any case.
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One request and what its answer means."""

    request: Request
    decode: Callable[[Answer], T]
    #: Sending it twice does what sending it once does.
    repeatable: bool = True
    #: It needs a token.
    authorized: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    #: Names in any case.
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send it. The reply is a `Response`, or the `ConnectionFailed`."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """Call it, and await what it returns if that is to be awaited. The reply is the result."""

    call: Callable[[], str | Awaitable[str]]


Effect = Union[Send, Pause, Fetch]  # noqa: UP007
Flow = Generator[Effect, Any, T]


@dataclass(slots=True)
class Core:
    """An address, a token, and how patient to be."""

    base: str
    token: str | None = field(repr=False)
    source: Callable[[], str | Awaitable[str]] | None
    retry: Retry
    headers: Mapping[str, str] = field(repr=False)
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(
        cls,
        base_url: str | None,
        token: AnyToken | None,
        retry: Retry,
        headers: Mapping[str, str] | None,
    ) -> Core:
        """From arguments, or the environment."""
        if base_url is None:
            base_url = os.environ.get("EAVES_URL") or os.environ.get("EAVES_API_URL")
        if token is None:
            token = os.environ.get("EAVES_TOKEN") or None
        agent = f"eaves-client/{__version__} python/{platform.python_version()}"
        return cls(
            base=_base(base_url),
            token=_checked(token) if isinstance(token, str) else None,
            source=token if callable(token) else None,
            retry=retry,
            headers={"accept": "application/json", "user-agent": agent, **(headers or {})},
        )

    def call(self, operation: Operation[T]) -> Flow[T]:
        """Sends a request, again if need be and if it may be, and decodes the answer."""
        request, began = operation.request, self.clock()
        attempt, renewed = 0, False
        token = (yield from self._token(None)) if operation.authorized else None
        while True:
            attempt += 1
            reply = yield self._send(request, token)
            failure = reply if isinstance(reply, ConnectionFailed) else failure_of(request, reply)
            if failure is None:
                return _decoded(operation, reply)
            failure.attempts = attempt
            status, after = None, None
            if isinstance(failure, ApiError):
                status, after = failure.status, failure.retry_after
            if status == 401 and operation.authorized and self.source is not None and not renewed:
                # Refused before anything was done, so this is right for every request.
                renewed = True
                token = yield from self._token(token)
                continue
            again = operation.repeatable and (status is None or status in RETRIED)
            pause = self.retry.pause(attempt, self.clock() - began, after) if again else None
            if pause is None:
                raise failure
            yield Pause(pause)

    def _token(self, stale: str | None) -> Flow[str]:
        """The token in use, or another if that is the stale one."""
        if self.source is not None and (self.token is None or self.token == stale):
            self.token = _checked((yield Fetch(self.source)))
        if self.token is None:
            raise BadInput("token", "is missing: give token=…, or set EAVES_TOKEN")
        return self.token

    def _send(self, request: Request, token: str | None) -> Send:
        headers = dict(self.headers)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if request.body is not None:
            headers["content-type"] = "application/json"
        return Send(request.method, self.base + request.target(), headers, request.body)


def _base(url: object) -> str:
    if not url:
        raise BadInput("base_url", "is missing: give base_url=…, or set EAVES_URL")
    if not isinstance(url, str):
        raise BadInput("base_url", f"{url!r} is not a text")
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in url):
        raise BadInput("base_url", f"{url[:200]!r} is no address such as http://127.0.0.1:8080")
    return url.rstrip("/")


def _checked(token: object) -> str:
    # What it is instead is not shown: it may be a secret all the same.
    if (
        not isinstance(token, str)
        or not token
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        raise BadInput("token", "is not a token: a text without blanks, as `eaves token` prints it")
    return token


def _decoded(operation: Operation[T], response: Response) -> T:
    try:
        return operation.decode(Answer(parse_json(response.body), response.headers, response.body))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as e:
        text = f"{operation.request}: the answer cannot be read by eaves-client {__version__}: {e}"
        raise ProtocolError(text) from e


def failure_of(request: Request, response: Response) -> ApiError | None:
    """The error that a response is, if it is one."""
    if 200 <= response.status < 300:
        return None
    body: Any
    try:
        body = parse_json(response.body)
    except ValueError:
        body = {"detail": response.body[:200].decode("utf-8", "replace")}
    if not isinstance(body, dict):
        body = {}

    def text(name: str) -> str:
        value = body.get(name)
        return value if isinstance(value, str) else ""

    errors = body.get("errors")
    listed = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    problem = Problem(
        status=response.status,
        kind=text("type").rpartition("#")[2],
        title=text("title"),
        # API Gateway's own answers have a message.
        detail=text("detail") or text("message"),
        field=text("field") or None,
        errors=tuple(
            FieldError(str(e.get("field", "")), str(e.get("code", "")), str(e.get("message", "")))
            for e in listed
        ),
        retry_after=retry_after(response.headers.get("retry-after")),
        request=str(request),
        estimate=_estimate(body.get("estimate")),
    )
    return ApiError.of(problem)


def _estimate(raw: Any) -> Estimate | None:
    try:
        return None if raw is None else build(Estimate, raw)
    except (ValueError, ArithmeticError):
        return None


def name(field_name: str, value: object) -> Name:
    """A name for a path."""
    checked = check_name(field_name, value)
    if checked in (".", ".."):
        # Also if they are escaped, as the platform's own URL parser reads them.
        raise BadInput(field_name, f"{checked!r} cannot stand in a path, which takes it for a way up")
    return Name(checked)
