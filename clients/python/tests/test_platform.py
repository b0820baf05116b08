"""The client against a real platform: what was sent comes back, exactly, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from conftest import Platform
from support import until

import eaves
from eaves import Reading, attr

pytestmark = pytest.mark.platform

# The same throughout the run, and recent, so that default windows cover it.
NOON = datetime.now(timezone.utc).replace(microsecond=123456) - timedelta(hours=1)
EXACT: dict[str, eaves.Value] = {
    "count": 2**63 - 1,
    "small": -(2**63),
    "temperature": 72.5,
    "tiny": 5e-324,
    "energy": Decimal("1234567890123456789012345.600"),
    "status": "online ü \U0001f7e2",
    "alarm": False,
    "serviced": datetime(2026, 1, 15, 7, 30, 0, 250_000, timezone.utc),
}


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[eaves.Client]:
    with eaves.Client(platform.url, platform.token("python")) as client:
        client.send(
            [
                Reading("device-123", NOON, EXACT, type="pump"),
                *(
                    Reading("device-123", NOON + timedelta(seconds=s), {"temperature": 70.0 + s})
                    for s in range(1, 25)
                ),
                Reading("hall-3/pump ü%", NOON, {"temperature": 20.5, "status": "offline"}, type="pump"),
                Reading("search", NOON, {"temperature": 95.5}, type="valve"),
                Reading("last", NOON, {"temperature": 12.5}),
            ]
        ).raise_for_rejections()
        until(lambda: client.get_entity("last", consistency="strong"))
        until(lambda: client.get_entity("device-123", consistency="strong")["temperature"] == 94.0)
        yield client


def test_the_example_of_the_seeds(client: eaves.Client) -> None:
    entity = client.get_entity(entity_id="device-123", consistency="strong")
    assert entity.metadata.lag_seconds < 1
    assert entity.metadata.source is eaves.Source.PRIMARY
    assert entity.metadata.consistency is eaves.Consistency.STRONG
    assert entity.metadata.tier is eaves.Tier.REALTIME
    assert entity.metadata.sla_met
    assert entity.metadata.sla_target == 1.0
    assert not entity.metadata.cache_hit
    assert client.get_entity("device-123", consistency="strong").metadata.lag_seconds < 1


def test_latest_values_come_back_exactly(client: eaves.Client) -> None:
    entity = client.get_entity("device-123", consistency="strong")
    expected = {**EXACT, "temperature": 94.0}
    assert entity.values() == expected
    assert {name: type(value) for name, value in entity.values().items()} == {
        name: type(value) for name, value in expected.items()
    }
    assert str(entity["energy"]) == "1234567890123456789012345.600"
    assert entity.type == "pump"
    assert entity.attributes["count"].observed_at == NOON
    assert entity.observed_at == NOON + timedelta(seconds=24)


def test_an_eventual_answer_says_where_it_is_from(client: eaves.Client) -> None:
    metadata = client.get_entity("device-123", max_staleness=timedelta(seconds=30)).metadata
    assert metadata.consistency is eaves.Consistency.EVENTUAL
    assert metadata.source in set(eaves.Source)
    assert 0 <= metadata.lag_seconds <= 30
    assert metadata.cache_hit == (metadata.source == eaves.Source.CACHE)
    assert metadata.queried_at is not None
    assert abs(metadata.queried_at - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert metadata.replication_lag is not None
    assert metadata.purpose is None
    assert metadata.as_of is not None
    assert metadata.as_of <= metadata.queried_at
    metadata = client.get_entity("device-123", purpose="reporting").metadata
    assert metadata.purpose is eaves.Purpose.REPORTING
    assert metadata.consistency is eaves.Consistency.ANALYTICS
    assert metadata.sla_target == 300
    with pytest.raises(eaves.BadRequest, match="purpose=dashboard and consistency=strong"):
        client.get_entity("device-123", purpose="dashboard", consistency="strong")


@pytest.mark.parametrize("name", ["hall-3/pump ü%", "search", "last"])
def test_any_name_can_be_asked_for(client: eaves.Client, name: str) -> None:
    assert client.get_entity(name, consistency="strong").external_id == name
    points = client.history(name, "temperature", consistency="strong").to_list()
    assert [p.observed_at for p in points] == [NOON]


def test_a_history_comes_in_pages_and_in_order(client: eaves.Client) -> None:
    history = client.history("device-123", "temperature", order="asc", page_size=7, consistency="strong")
    points = history.to_list()
    assert [p.value for p in points] == [72.5, *(70.0 + s for s in range(1, 25))]
    assert [p.observed_at for p in points] == [NOON + timedelta(seconds=s) for s in range(25)]
    assert [len(page.points) for page in history.pages()] == [7, 7, 7, 4]
    # A window of 75 days takes three questions.
    start = datetime.now(timezone.utc) - timedelta(days=75)
    long = client.history(
        "device-123", "temperature", start=start, page_size=7, limit=20, consistency="strong"
    )
    assert long.to_list() == points[:4:-1]
    whole = client.history("device-123", "temperature", start=start, consistency="strong")
    assert whole.to_list() == points[::-1]
    assert len(list(whole.pages())) == 3


@pytest.mark.parametrize(
    ("attribute", "dtype"),
    [
        ("count", "Int64"),
        ("small", "Int64"),
        ("tiny", "float64"),
        ("energy", "object"),
        ("status", "string"),
        ("alarm", "boolean"),
        ("serviced", "datetime64[us, UTC]"),
    ],
)
def test_a_history_is_a_frame_with_a_typed_column(client: eaves.Client, attribute: str, dtype: str) -> None:
    frame = client.history("device-123", attribute, consistency="strong").to_frame()
    assert str(frame["value"].dtype) == dtype
    assert frame["value"].tolist() == [EXACT[attribute]]
    assert str(frame["value"].iloc[0]) == str(EXACT[attribute]) or attribute == "serviced"
    assert [t.to_pydatetime() for t in frame.index] == [NOON]


def test_entities_are_found_by_their_values(client: eaves.Client) -> None:
    def found(condition: eaves.Filter | None, **settings: str) -> list[str]:
        search = client.search(condition, type=settings.get("type"), consistency="strong", page_size=1)
        return sorted(e.external_id for e in search)

    assert found(attr("temperature") > 90) == ["device-123", "search"]
    assert found((attr("temperature") > 90) & (attr("status") != "online ü \U0001f7e2")) == ["search"]
    assert found(attr("energy") == Decimal("1234567890123456789012345.6")) == ["device-123"]
    assert found(attr("energy") > Decimal("1234567890123456789012345.600")) == []
    assert found(attr("count") >= 2**63 - 1) == ["device-123"]
    assert found(attr("serviced").between("2026-01-15T08:30:00.25+01:00", EXACT["serviced"])) == [
        "device-123"
    ]
    assert found(~attr("alarm").exists()) == ["hall-3/pump ü%", "last", "search"]
    assert found(attr("status").isin(["offline", "gone"]) | (attr("alarm") == False)) == [  # noqa: E712
        "device-123",
        "hall-3/pump ü%",
    ]
    assert found(None, type="pump") == ["device-123", "hall-3/pump ü%"]
    frame = client.search(fields=["temperature", "count"], consistency="strong").to_frame()
    assert sorted(frame.columns) == ["count", "temperature"]
    assert frame.loc["device-123", "count"] == 2**63 - 1
    assert str(frame["count"].dtype) == "Int64"


def test_another_tenant_sees_nothing(client: eaves.Client, platform: Platform) -> None:
    with eaves.Client(platform.url, platform.token("other")) as other:
        with pytest.raises(eaves.NotFound, match="no entity") as told:
            other.get_entity("device-123", consistency="strong")
        assert told.value.field == "external_id"
        assert other.search(consistency="strong").to_list() == []
        assert other.list_attributes(consistency="strong").to_list() == []
        with pytest.raises(eaves.NotFound):
            other.history("device-123", "temperature", consistency="strong").first()
        stranger = {"tenant": "python", "entity": "x", "observed_at": NOON, "values": {"a": 1}}
        with pytest.raises(eaves.Forbidden) as refused:
            other.send([Reading("y", NOON, {"a": 1}), stranger])
        assert refused.value.field == "[1].tenant"
    assert client.get_entity("device-123", consistency="strong")["temperature"] == 94.0


def test_errors_name_what_is_wrong(client: eaves.Client, platform: Platform) -> None:
    with pytest.raises(eaves.BadRequest) as told:
        client.search(attr("no-such-attribute") > 1).to_list()
    assert (told.value.field, told.value.problem.kind) == ("filter.attribute", "bad-filter")
    with pytest.raises(eaves.BadRequest) as told:
        client.send(Reading("x", datetime(1970, 1, 1, tzinfo=timezone.utc), {"a": 1}))
    assert [(e.field, e.code) for e in told.value.errors] == [("[0].observed_at", "bad_time")]
    with (
        eaves.Client(platform.url, platform.token("python", scope="query:read")) as reader,
        pytest.raises(eaves.Forbidden, match="telemetry:write"),
    ):
        reader.send(Reading("x", NOON, {"a": 1}))
    with eaves.Client(platform.url, "not.a.token") as stranger, pytest.raises(eaves.Unauthorized):
        stranger.freshness()


def test_a_refused_token_is_fetched_anew(client: eaves.Client, platform: Platform) -> None:
    tokens = iter(["not.a.token", platform.token("python")])
    with eaves.Client(platform.url, lambda: next(tokens)) as renewing:
        assert renewing.get_entity("search", consistency="strong")["temperature"] == 95.5
    assert client.health().status == "ok"


def test_a_value_of_another_type_is_in_quarantine_and_can_be_decided(client: eaves.Client) -> None:
    client.send(Reading("device-9", NOON, {"temperature": "hot", "alarm": True}))
    rows = until(lambda: client.list_quarantine(state="open", attribute="temperature").to_list())
    (row,) = rows
    assert (row.kind, row.reason, row.field) == ("value", "type_mismatch", "values.temperature")
    assert client.get_quarantined(row.id).payload["values"] == {"temperature": "hot"}
    assert client.redrive_matching(attribute="temperature", dry_run=True).found == 1
    client.drop_quarantined(row.id, "a test device")
    assert client.list_quarantine(state="open", attribute="temperature").to_list() == []
    with pytest.raises(eaves.Conflict):
        client.redrive(row.id)


def test_the_platform_tells_about_itself(client: eaves.Client) -> None:
    names = [a.name for a in client.list_attributes(page_size=3, consistency="strong")]
    assert names == sorted(EXACT)
    energy = client.describe_attribute("energy", consistency="strong")
    assert (energy.name, energy.type, energy.hot) == ("energy", eaves.ValueType.DECIMAL, True)
    assert energy.metadata.source is eaves.Source.PRIMARY
    assert set(names) == set(client.list_attributes(consistency="strong").to_frame()["name"])
    report = client.freshness()
    assert report.primary.available
    assert report.cache is not None
    assert report.cache.reachable
    assert client.health().version


def test_the_asynchronous_client_does_the_same(client: eaves.Client, platform: Platform) -> None:
    async def ask(token: str) -> None:
        async def fetch() -> str:
            return token

        async with eaves.AsyncClient(platform.url, fetch) as asking:
            result = await asking.send(
                Reading("async-1", NOON, {"temperature": 1.5, "count": 7}, type="other")
            )
            assert result.accepted_values == 2
            entities = await asyncio.gather(
                *(asking.get_entity("device-123", consistency="strong") for _ in range(8))
            )
            assert {e["count"] for e in entities} == {2**63 - 1}
            history = asking.history(
                "device-123", "temperature", order="asc", page_size=7, consistency="strong"
            )
            assert len([p async for p in history]) == 25
            assert (await history.to_frame())["value"].iloc[-1] == 94.0
            found = asking.search(attr("temperature") > 90, consistency="strong")
            assert sorted([e.external_id async for e in found]) == ["device-123", "search"]
            with pytest.raises(eaves.NotFound):
                await asking.get_entity("nobody", consistency="strong")

    asyncio.run(ask(platform.token("python")))
    # The two ways see the same.
    assert until(
        lambda: (
            client.get_entity("async-1", consistency="strong").values() == {"temperature": 1.5, "count": 7}
        )
    )


def test_the_platform_describes_what_the_client_asks_for(client: eaves.Client) -> None:
    assert {
        "/healthz",
        "/v1/aggregates",
        "/v1/attributes",
        "/v1/attributes/{name}",
        "/v1/attributes/{name}/demote",
        "/v1/attributes/{name}/distribution",
        "/v1/attributes/{name}/pin",
        "/v1/attributes/{name}/promote",
        "/v1/entities",
        "/v1/entities/batch",
        "/v1/entities/search",
        "/v1/entities/{external_id}",
        "/v1/entities/{external_id}/history",
        "/v1/entities/{external_id}/history/{attribute}",
        "/v1/entities/{external_id}/latest",
        "/v1/freshness",
        "/v1/hot/changes",
        "/v1/hot/decisions",
        "/v1/quarantine",
        "/v1/quarantine/redrive",
        "/v1/quarantine/{id}",
        "/v1/quarantine/{id}/drop",
        "/v1/quarantine/{id}/redrive",
        "/v1/telemetry",
        "/v1/tenant",
    } <= set(client.openapi()["paths"])
