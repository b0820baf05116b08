"""Retries, tokens, errors: what both clients do with answers that a platform seldom gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ENTITY, ENTITY_ANSWER, FRESHNESS, Caller, Handler, problem

import eaves
from eaves import Retry
from eaves.retry import retry_after

both = pytest.mark.parametrize("kind", ["sync", "async"])


def script(*answers: httpx.Response | Exception) -> Handler:
    """Answers one after the other."""
    left: Iterator[httpx.Response | Exception] = iter(answers)

    def handler(_: httpx.Request) -> httpx.Response:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler


def fine() -> httpx.Response:
    return httpx.Response(200, json=ENTITY_ANSWER)


@both
@pytest.mark.parametrize(
    "failure",
    [
        problem(503),
        problem(429, "too-many"),
        httpx.Response(502, text="<html>bad gateway"),
        httpx.Response(504, json={"message": "Endpoint request timed out"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("closed"),
    ],
    ids=str,
)
def test_a_question_is_asked_again(kind: str, failure: httpx.Response | Exception) -> None:
    caller = Caller(kind, script(failure, failure, fine()))
    assert caller("get_entity", "pump-7")["temperature"] == 72.5
    assert len(caller.requests) == 3
    assert len(caller.pauses) == 2
    assert 0 <= caller.pauses[0] <= 0.2
    assert 0 <= caller.pauses[1] <= 0.4


@both
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, eaves.BadRequest),
        (401, eaves.Unauthorized),
        (403, eaves.Forbidden),
        (404, eaves.NotFound),
        (405, eaves.ApiError),
        (409, eaves.Conflict),
        (413, eaves.TooLarge),
        (500, eaves.ServerError),
        (302, eaves.ApiError),
    ],
)
def test_what_will_not_get_better_is_told_at_once(
    kind: str, status: int, error: type[eaves.ApiError]
) -> None:
    caller = Caller(kind, lambda _: problem(status, "bad-parameter", field="from"))
    with pytest.raises(error) as told:
        caller("get_entity", "pump-7")
    assert type(told.value) is error
    assert (told.value.status, told.value.field, told.value.attempts) == (status, "from", 1)
    assert told.value.problem.kind == "bad-parameter"
    assert str(told.value) == f"GET /v1/entities/pump-7: {status} from: made up"
    assert len(caller.requests) == 1


@both
def test_patience_ends(kind: str) -> None:
    caller = Caller(kind, lambda _: problem(503, headers={"retry-after": "1"}), retry=Retry(attempts=3))
    with pytest.raises(eaves.Unavailable) as told:
        caller("get_entity", "pump-7")
    assert told.value.attempts == len(caller.requests) == 3
    assert told.value.retry_after == 1.0
    assert all(pause >= 1.0 for pause in caller.pauses)


@both
def test_a_long_retry_after_is_told_instead_of_waited_for(kind: str) -> None:
    caller = Caller(kind, lambda _: problem(429, "too-many", headers={"retry-after": "3600"}))
    with pytest.raises(eaves.RateLimited) as told:
        caller("get_entity", "pump-7")
    assert told.value.retry_after == 3600
    assert caller.pauses == []


@both
def test_a_quota_that_is_used_up_is_told_as_such(kind: str) -> None:
    caller = Caller(kind, lambda _: problem(429, "quota-exceeded", headers={"retry-after": "7200"}))
    with pytest.raises(eaves.QuotaExceeded) as told:
        caller("get_entity", "pump-7")
    assert isinstance(told.value, eaves.RateLimited)
    assert (told.value.retry_after, caller.pauses) == (7200, [])


@both
def test_no_answer_at_all(kind: str) -> None:
    def nobody(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    caller = Caller(kind, nobody, retry=Retry(attempts=2))
    with pytest.raises(
        eaves.ConnectionFailed, match=r"GET http://eaves.test/api/v1/freshness: ConnectError"
    ) as told:
        caller("freshness")
    assert told.value.attempts == 2
    assert isinstance(told.value.__cause__, httpx.ConnectError)


@both
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("redrive", {"id": 17}),
        ("redrive_matching", {"reason": "unknown_attribute"}),
        ("drop_quarantined", {"id": 17, "why": "a test device"}),
    ],
)
@pytest.mark.parametrize("failure", [problem(503), httpx.ReadTimeout("slow")], ids=str)
def test_decisions_are_not_repeated(
    kind: str, method: str, arguments: dict[str, Any], failure: httpx.Response | Exception
) -> None:
    caller = Caller(kind, script(failure))
    with pytest.raises((eaves.Unavailable, eaves.TimedOut)):
        caller(method, **arguments)
    assert len(caller.requests) == 1


@both
def test_a_dry_run_changes_nothing_and_is_repeated(kind: str) -> None:
    answer = httpx.Response(
        202, json={"found": 2, "pieces": 5, "sent": [], "not_sent": [{"id": 3, "why": "large"}]}
    )
    caller = Caller(kind, script(problem(503), answer))
    told = caller("redrive_matching", dry_run=True)
    assert told == eaves.Redriven(2, 5, (), (eaves.NotSent(3, "large"),))


@both
def test_a_stale_token_is_renewed_once(kind: str) -> None:
    made: list[str] = []

    def token() -> str:
        made.append(f"token-{len(made)}")
        return made[-1]

    def handler(request: httpx.Request) -> httpx.Response:
        good = request.headers["authorization"] == "Bearer token-1"
        return fine() if good else httpx.Response(401, json={"message": "Unauthorized"})

    caller = Caller(kind, handler, token=token)
    assert caller("get_entity", "pump-7").version == 3
    assert made == ["token-0", "token-1"]
    assert caller.pauses == []

    caller = Caller(kind, lambda _: httpx.Response(401, json={"message": "Unauthorized"}), token=token)
    with pytest.raises(eaves.Unauthorized, match="401 Unauthorized"):
        caller("get_entity", "pump-7")
    assert len(caller.requests) == 2


@both
def test_a_token_is_fetched_once_for_many_requests(kind: str) -> None:
    made: list[int] = []

    def token() -> str:
        made.append(1)
        return "t"

    page = {"items": [], "next_cursor": "17"}
    last: dict[str, Any] = {"items": [], "next_cursor": None}
    caller = Caller(kind, script(*(httpx.Response(200, json=p) for p in (page, last))), token=token)
    assert caller("list_quarantine") == []
    assert len(caller.requests) == 2
    assert len(made) == 1


def test_an_async_function_may_fetch_the_token_of_an_async_client() -> None:
    async def token() -> str:
        return "from-afar"

    caller = Caller("async", lambda _: fine(), token=token)
    caller("get_entity", "pump-7")
    assert caller.requests[0].headers["authorization"] == "Bearer from-afar"
    with pytest.raises(eaves.BadInput, match="use AsyncClient"):
        Caller("sync", lambda _: fine(), token=token)("get_entity", "pump-7")


@both
def test_address_and_token_come_from_the_environment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAVES_URL", "https://eaves.example/")
    monkeypatch.setenv("EAVES_TOKEN", "of-the-environment")
    caller = Caller(kind, lambda _: fine(), base_url=None, token=None)
    caller("get_entity", "hall 3/ü", consistency="strong", max_staleness=0.5, purpose="critical")
    request = caller.requests[0]
    assert str(request.url) == (
        "https://eaves.example/v1/entities/hall%25203%252F%25C3%25BC?consistency=strong&max_staleness=0.5s"
        "&purpose=critical"
    )
    assert request.headers["authorization"] == "Bearer of-the-environment"


@both
def test_what_is_missing_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EAVES_URL", "EAVES_API_URL", "EAVES_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(eaves.BadInput, match="base_url: is missing"):
        Caller(kind, lambda _: fine(), base_url=None)("health")
    health = httpx.Response(200, json={"status": "ok", "version": "0.1.0"})
    assert Caller(kind, lambda _: health, token=None)("health").status == "ok"
    with pytest.raises(eaves.BadInput, match="token: is missing"):
        Caller(kind, lambda _: fine(), token=None)("get_entity", "pump-7")


@pytest.mark.parametrize(
    "url", ["eaves.example", "ftp://x", "http://", "http://x/?a=1", "http://x:99999", "http://x y"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(eaves.BadInput, match="base_url"):
        eaves.Client(url, "t")


@pytest.mark.parametrize("token", ["", "a b", "line\nbreak", "ü"])
def test_a_token_that_is_none_is_refused_and_not_shown(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EAVES_TOKEN", raising=False)
    with pytest.raises(eaves.BadInput, match="token") as refused:
        eaves.Client("http://x", lambda: token, transport=httpx.MockTransport(lambda _: fine())).get_entity(
            "x"
        )
    assert not token or token not in str(refused.value)


def test_a_client_does_not_show_its_token() -> None:
    with eaves.Client("http://x", "secret-token") as client:
        assert "secret" not in repr(client) + repr(client._core)


@both
def test_an_answer_tells_its_freshness(kind: str) -> None:
    headers = {
        "X-Cache-Hit": "true",
        "X-Replication-Lag": "0.031",
        "X-Query-Timestamp": "2026-03-01T12:00:00.5Z",
    }
    caller = Caller(kind, lambda _: httpx.Response(200, json=ENTITY_ANSWER, headers=headers))
    entity = caller("get_entity", "pump-7")
    assert entity.metadata == eaves.Metadata(
        source=eaves.Source.CACHE,
        lag_seconds=0.25,
        tier=eaves.Tier.REALTIME,
        consistency=eaves.Consistency.EVENTUAL,
        sla_target=10.0,
        sla_met=True,
        route_reason="cache entry is 0.3 s old, under 5 s",
        cache_hit=True,
        replication_lag=0.031,
        queried_at=datetime(2026, 3, 1, 12, 0, 0, 500_000, timezone.utc),
    )
    assert str(entity.metadata).startswith("🟢 REALTIME: at most 0.2 s old, from cache")
    assert entity.values() == {"temperature": 72.5}
    assert "temperature" in entity
    assert entity.get("status", "?") == "?"


@both
def test_an_unknown_age_is_older_than_anything(kind: str) -> None:
    unknown = {**FRESHNESS, "lag_seconds": None, "tier": "STALE"}
    body = {"entity": ENTITY, "metadata": {"freshness": unknown}}
    caller = Caller(kind, lambda _: httpx.Response(200, json=body, headers={"X-Replication-Lag": "unknown"}))
    metadata = caller("get_entity", "pump-7").metadata
    assert metadata.lag_seconds > 5
    assert metadata.replication_lag == math.inf
    assert "of unknown age" in str(metadata)


@both
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"entity": {}}',
        b'{"entity": NaN}',
        b"[" * 100_000,
        b'{"entity": null, "metadata": {"freshness": {}}}',
    ],
    ids=repr,
)
def test_an_answer_that_is_none_is_a_protocol_error(kind: str, body: bytes) -> None:
    with pytest.raises(eaves.ProtocolError, match="GET /v1/entities/pump-7"):
        Caller(kind, lambda _: httpx.Response(200, content=body))("get_entity", "pump-7")


MEMBERS = ["entity", "metadata", "freshness", "points", "value", "type", "items", "from", "to", "order"]
MEMBERS += ["series", "buckets", "bucket_seconds", "attribute", "groups", "figures", "top", "tenant"]
junk: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
Ask = Callable[[eaves.Client], object]
QUESTIONS: list[Ask] = [
    lambda c: c.get_entity("x"),
    lambda c: c.history("x", "y").to_list(),
    lambda c: c.search().to_list(),
    lambda c: c.get_entities(["x"]).to_list(),
    lambda c: c.list_entities().to_list(),
    lambda c: c.histories("x", ["y"]).to_list(),
    lambda c: c.buckets("x", ["y"], "5m").to_list(),
    lambda c: c.latest("x", ["y"]),
    lambda c: c.aggregate(["y"]),
    lambda c: c.distribution("y"),
    lambda c: c.get_tenant(),
    lambda c: c.update_attribute("y", unit="C"),
    lambda c: c.hot_changes(),
    lambda c: c.list_hot_decisions().to_list(),
    lambda c: c.list_attributes().to_list(),
    lambda c: c.list_quarantine().to_list(),
    lambda c: c.get_quarantined(1),
    lambda c: c.freshness(),
    lambda c: c.health(),
    lambda c: c.send({"entity": "x", "observed_at": "2026-03-01T12:00:00Z", "values": {"y": 1}}),
]


@given(junk, st.sampled_from(QUESTIONS), st.sampled_from([200, 400, 404, 418, 500]))
def test_nothing_but_this_packages_errors_comes_of_any_answer(body: Any, ask: Ask, status: int) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    with eaves.Client("http://x", "t", transport=transport) as client:
        try:
            ask(client)
        except eaves.EavesError:
            return
        assert status == 200


def test_pauses_double_up_to_the_cap_with_full_jitter() -> None:
    retry = Retry(attempts=9, base=1, cap=10, deadline=1e9)
    most = [retry.pause(n, 0, uniform=lambda _, high: high) for n in range(1, 10)]
    assert most == [1, 2, 4, 8, 10, 10, 10, 10, None]
    assert retry.pause(1, 0, 5.0, uniform=lambda low, _: low) == 5.0
    assert Retry(attempts=10**6, deadline=1e9).pause(10**6 - 1, 0) is not None


def test_no_pause_ends_after_the_deadline() -> None:
    retry = Retry(base=1, deadline=3)
    assert retry.pause(1, 2.0, uniform=lambda _, high: high) == 1
    assert retry.pause(1, 2.1, uniform=lambda _, high: high) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 10, 21, 7, 28, tzinfo=timezone.utc)
    assert retry_after("2") == 2.0
    assert retry_after("Wed, 21 Oct 2026 07:28:30 GMT", lambda: now) == 30.0
    assert retry_after("Wed, 21 Oct 2026 07:27:00 GMT", lambda: now) == 0.0
    for nothing in (None, "", "soon", "-1", "inf", "nan"):
        assert retry_after(nothing) is None


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"attempts": True}, {"base": -1}, {"cap": math.nan}])
def test_a_policy_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(eaves.BadInput):
        Retry(**wrong)
