"""Answers made up for what cannot be caused on a real platform, and patience with one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import pytest

import eaves

Handler = Callable[[httpx.Request], httpx.Response]
T = TypeVar("T")
#: How long a real platform may take until what was sent is there.
PATIENCE_S = 60.0

FRESHNESS = {
    "tier": "REALTIME",
    "lag_seconds": 0.25,
    "source": "cache",
    "consistency": "eventual",
    "sla_target": 10.0,
    "sla_met": True,
    "route_reason": "cache entry is 0.3 s old, under 5 s",
}
ENTITY = {
    "external_id": "pump-7",
    "type": "pump",
    "version": 3,
    "observed_at": "2026-03-01T12:00:00Z",
    "attributes": {
        "temperature": {"value": 72.5, "type": "float", "unit": "C", "observed_at": "2026-03-01T12:00:00Z"}
    },
}
ENTITY_ANSWER = {"entity": ENTITY, "metadata": {"freshness": FRESHNESS}}


def accepted(readings: int) -> httpx.Response:
    """All readings of a portion, one value each, are on their way."""
    counts = {"accepted_readings": readings, "accepted_values": readings, "rejected": 0, "rejections": []}
    return httpx.Response(202, json=counts)


def problem(status: int, kind: str = "unavailable", **members: Any) -> httpx.Response:
    """A problem detail."""
    headers = {"content-type": "application/problem+json", **members.pop("headers", {})}
    body = {"type": f"/docs#{kind}", "title": kind, "status": status, "detail": "made up", **members}
    return httpx.Response(status, content=json.dumps(body), headers=headers)


class Caller:
    """A client of one kind, and what it did."""

    def __init__(self, kind: str, handler: Handler, **settings: Any) -> None:
        self.kind = kind
        self.handler = handler
        self.settings: dict[str, Any] = {
            "base_url": "http://eaves.test/api",
            "token": "secret-token",
            **settings,
        }
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.handler(request)
        # Anew each time: one that was read is used up.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method; of pages, all items."""
        transport = httpx.MockTransport(self._answer)
        with self._no_sleep():
            if self.kind == "sync":
                with eaves.Client(transport=transport, **self.settings) as client:
                    answer = getattr(client, method)(*args, **kwargs)
                    return answer.to_list() if isinstance(answer, eaves.Pages) else answer
            return asyncio.run(self._asynchronous(transport, method, *args, **kwargs))

    async def _asynchronous(
        self, transport: httpx.MockTransport, method: str, *args: Any, **kwargs: Any
    ) -> Any:
        async with eaves.AsyncClient(transport=transport, **self.settings) as client:
            answer = getattr(client, method)(*args, **kwargs)
            if isinstance(answer, eaves.AsyncPages):
                return await answer.to_list()
            return await answer

    @contextmanager
    def _no_sleep(self) -> Iterator[None]:
        async def later(seconds: float) -> None:
            self.pauses.append(seconds)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("eaves.client.time.sleep", self.pauses.append)
            patch.setattr("eaves.client.anyio.sleep", later)
            yield


def bodies(caller: Caller) -> list[Any]:
    """What was sent, as JSON."""
    return [json.loads(r.content) for r in caller.requests]


def until(ask: Callable[[], T]) -> T:
    """What `ask` answers, as soon as that is something."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = ask()
        except eaves.NotFound:
            if time.monotonic() > end:
                raise
        else:
            if answer or time.monotonic() > end:
                assert answer
                return answer
        time.sleep(0.05)
