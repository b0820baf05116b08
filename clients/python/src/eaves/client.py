"""The two clients: `Client` blocks, `AsyncClient` is awaited. What they can do is in `_operations`."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import httpx

from . import _operations as operations
from ._core import AnyToken, Core, Effect, Fetch, Flow, Operation, Pause, Response, Send
from ._paging import AsyncPages, Listing, Page, Pages
from .errors import BadInput, ConnectionFailed, TimedOut
from .freshness import Demand
from .readings import MOST_READINGS, AnyReading, SendResult, send
from .retry import Retry

__all__ = ["AsyncClient", "Client"]

A = ParamSpec("A")
T = TypeVar("T")
P = TypeVar("P", bound=Page)
I = TypeVar("I")  # noqa: E741 (an item)

_ARGUMENTS = """
    `base_url` and `token` default to the environment's `EAVES_URL` and `EAVES_TOKEN`. A token may be a
    function that fetches one: it is called when a token is first needed, and once more when the
    platform answers 401. `timeout` is in seconds, for each attempt; `transport` is httpx's.
    """


def _documented(method: Any, operation: Callable[..., Any]) -> None:
    """Shows the operation's parameters in `help`, after `self`; those of every read by name."""
    functools.update_wrapper(method, operation)
    own = list(inspect.signature(operation).parameters.values())
    if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
        own[-1:] = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=getattr(hint, "__forward_arg__", hint),
            )
            for name, hint in Demand.__annotations__.items()
        ]
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = inspect.Signature([me, *own])


def _call(operation: Callable[A, Operation[T]]) -> Callable[Concatenate[Client, A], T]:
    def method(self: Client, /, *args: A.args, **kwargs: A.kwargs) -> T:
        return self._run(self._core.call(operation(*args, **kwargs)))

    _documented(method, operation)
    return method


def _pages(operation: Callable[A, Listing[P, I]]) -> Callable[Concatenate[Client, A], Pages[P, I]]:
    def method(self: Client, /, *args: A.args, **kwargs: A.kwargs) -> Pages[P, I]:
        return Pages(operation(*args, **kwargs), lambda page: self._run(self._core.call(page)))

    _documented(method, operation)
    return method


class Client:
    __doc__ = "A client that blocks. Threads may share it. Use it in a `with`, or close it." + _ARGUMENTS

    def __init__(
        self,
        base_url: str | None = None,
        token: str | Callable[[], str] | None = None,
        *,
        timeout: float | httpx.Timeout = 30.0,
        retry: Retry | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._core = Core.of(base_url, token, retry or Retry(), headers)
        self._http = httpx.Client(timeout=timeout, transport=transport)

    get_entity = _call(operations.get_entity)
    get_entities = _pages(operations.get_entities)
    list_entities = _pages(operations.list_entities)
    search = _pages(operations.search)
    history = _pages(operations.history)
    histories = _pages(operations.histories)
    buckets = _pages(operations.buckets)
    latest = _call(operations.latest)
    list_attributes = _pages(operations.list_attributes)
    describe_attribute = _call(operations.describe_attribute)
    declare_attribute = _call(operations.declare_attribute)
    update_attribute = _call(operations.update_attribute)
    promote_attribute = _call(operations.promote_attribute)
    demote_attribute = _call(operations.demote_attribute)
    pin_attribute = _call(operations.pin_attribute)
    unpin_attribute = _call(operations.unpin_attribute)
    hot_changes = _call(operations.hot_changes)
    list_hot_decisions = _pages(operations.list_hot_decisions)
    aggregate = _call(operations.aggregate)
    distribution = _call(operations.distribution)
    get_tenant = _call(operations.get_tenant)
    update_tenant = _call(operations.update_tenant)
    list_quarantine = _pages(operations.list_quarantine)
    get_quarantined = _call(operations.get_quarantined)
    redrive = _call(operations.redrive)
    redrive_matching = _call(operations.redrive_matching)
    drop_quarantined = _call(operations.drop_quarantined)
    freshness = _call(operations.freshness)
    openapi = _call(operations.openapi)
    health = _call(operations.health)

    def send(
        self, readings: AnyReading | Iterable[AnyReading], *, batch_size: int = MOST_READINGS
    ) -> SendResult:
        """Sends readings, any number of them, in requests within the API's limits.

        `BadRequest` if none can be accepted; else the result says what was not. Of a list, nothing is
        sent if `BadInput` is raised; an iterator is read while it is sent. To send a reading again after
        a doubt is always safe: a point sent twice is one point.
        """
        return self._run(send(self._core, readings, batch_size))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._core.base!r})"

    def _run(self, flow: Flow[T]) -> T:
        reply: Any = None
        while True:
            try:
                effect = flow.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            reply = self._perform(effect)

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Pause):
            return time.sleep(effect.seconds)
        if isinstance(effect, Fetch):
            token = effect.call()
            if inspect.isawaitable(token):
                if inspect.iscoroutine(token):
                    token.close()
                raise BadInput("token", "is fetched by an async function: use AsyncClient")
            return token
        try:
            response = self._http.send(_request(self._http, effect))
        except httpx.RequestError as e:
            return _failed(effect, e)
        return Response(response.status_code, response.headers, response.content)


def _async_call(
    operation: Callable[A, Operation[T]],
) -> Callable[Concatenate[AsyncClient, A], Coroutine[Any, Any, T]]:
    async def method(self: AsyncClient, /, *args: A.args, **kwargs: A.kwargs) -> T:
        return await self._run(self._core.call(operation(*args, **kwargs)))

    _documented(method, operation)
    return method


def _async_pages(
    operation: Callable[A, Listing[P, I]],
) -> Callable[Concatenate[AsyncClient, A], AsyncPages[P, I]]:
    def method(self: AsyncClient, /, *args: A.args, **kwargs: A.kwargs) -> AsyncPages[P, I]:
        return AsyncPages(operation(*args, **kwargs), lambda page: self._run(self._core.call(page)))

    _documented(method, operation)
    return method


class AsyncClient:
    __doc__ = "A client that is awaited. Use it in an `async with`, or close it." + _ARGUMENTS

    def __init__(
        self,
        base_url: str | None = None,
        token: AnyToken | None = None,
        *,
        timeout: float | httpx.Timeout = 30.0,
        retry: Retry | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._core = Core.of(base_url, token, retry or Retry(), headers)
        self._http = httpx.AsyncClient(timeout=timeout, transport=transport)

    get_entity = _async_call(operations.get_entity)
    get_entities = _async_pages(operations.get_entities)
    list_entities = _async_pages(operations.list_entities)
    search = _async_pages(operations.search)
    history = _async_pages(operations.history)
    histories = _async_pages(operations.histories)
    buckets = _async_pages(operations.buckets)
    latest = _async_call(operations.latest)
    list_attributes = _async_pages(operations.list_attributes)
    describe_attribute = _async_call(operations.describe_attribute)
    declare_attribute = _async_call(operations.declare_attribute)
    update_attribute = _async_call(operations.update_attribute)
    promote_attribute = _async_call(operations.promote_attribute)
    demote_attribute = _async_call(operations.demote_attribute)
    pin_attribute = _async_call(operations.pin_attribute)
    unpin_attribute = _async_call(operations.unpin_attribute)
    hot_changes = _async_call(operations.hot_changes)
    list_hot_decisions = _async_pages(operations.list_hot_decisions)
    aggregate = _async_call(operations.aggregate)
    distribution = _async_call(operations.distribution)
    get_tenant = _async_call(operations.get_tenant)
    update_tenant = _async_call(operations.update_tenant)
    list_quarantine = _async_pages(operations.list_quarantine)
    get_quarantined = _async_call(operations.get_quarantined)
    redrive = _async_call(operations.redrive)
    redrive_matching = _async_call(operations.redrive_matching)
    drop_quarantined = _async_call(operations.drop_quarantined)
    freshness = _async_call(operations.freshness)
    openapi = _async_call(operations.openapi)
    health = _async_call(operations.health)

    async def send(
        self, readings: AnyReading | Iterable[AnyReading], *, batch_size: int = MOST_READINGS
    ) -> SendResult:
        """Sends readings: see `Client.send`."""
        return await self._run(send(self._core, readings, batch_size))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._core.base!r})"

    async def _run(self, flow: Flow[T]) -> T:
        reply: Any = None
        while True:
            try:
                effect = flow.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            reply = await self._perform(effect)

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Pause):
            return await anyio.sleep(effect.seconds)
        if isinstance(effect, Fetch):
            token = effect.call()
            return await token if isinstance(token, Awaitable) else token
        try:
            response = await self._http.send(_request(self._http, effect))
        except httpx.RequestError as e:
            return _failed(effect, e)
        return Response(response.status_code, response.headers, response.content)


def _request(http: httpx.Client | httpx.AsyncClient, effect: Send) -> httpx.Request:
    return http.build_request(effect.method, effect.url, headers=dict(effect.headers), content=effect.body)


def _failed(effect: Send, error: httpx.RequestError) -> ConnectionFailed:
    kind = TimedOut if isinstance(error, httpx.TimeoutException) else ConnectionFailed
    failure = kind(f"{effect.method} {effect.url}: {type(error).__name__} {error}".rstrip())
    failure.__cause__ = error
    return failure
