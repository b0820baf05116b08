"""The README's examples run as they stand there, in order, against a real platform."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from conftest import REPOSITORY, Platform

import eaves
from eaves import attr

README = Path(__file__).parents[1] / "README.md"


def examples(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(example: str, name: str) -> None:
    exec(compile(example, name, "exec"), {"__name__": "__main__"})


@pytest.mark.platform
def test_the_examples_of_the_readme_run(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EAVES_URL", platform.url)
    scope = "query:read telemetry:write settings:write"
    monkeypatch.setenv("EAVES_TOKEN", platform.token("readme", scope=scope))
    said: list[str] = []
    for number, example in enumerate(examples(README)):
        run(example, f"README.md, example {number + 1}")
        said.append(capsys.readouterr().out)
        if number == 0:
            _until_taken("device-123", "energy_kwh")
    assert said[0] == "4 values are on the stream\n"
    assert said[1].startswith("72.5 20")
    assert "🟢 REALTIME: at most 0.0 s old, from primary (strong consistency was asked for)" in said[1]
    assert "72.5" in said[2]
    assert "18231.250 decimal" in said[2]
    assert said[3].startswith("1450\n20")
    assert "72.5 72.5 72.5\n72.5\n{} ('temperature', 'rpm')" in said[3]
    assert "device-123 72.5" in said[4]
    assert "device-123 72.5" in said[5]
    assert "device-124 Reason(code='not_found'" in said[5]
    assert said[6].startswith("temperature 1 72.5 72.5\nrpm 1 1450 1450\n")
    assert "[(72.5, 72.5, 1)]" in said[6]
    assert "'rpm': 1450" in said[7]
    assert 'attribute no attribute "no-such-attribute" is registered' in said[8]
    assert "[0].observed_at: '2026-03-01T12:00:00' is not an RFC 3339 time with a zone" in said[8]
    assert "temperature float True" in said[9]
    assert "0 rows could be sent again" in said[9]
    assert said[10] == "°C At the bearing\ndecimal\n30d:quarantine reject\n"
    assert len(said) == 11


@pytest.mark.platform
@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_the_examples_of_other_pages_run(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setenv("EAVES_URL", platform.url)
    monkeypatch.setenv("EAVES_TOKEN", platform.token("readme"))
    now = datetime.now(timezone.utc)
    with eaves.Client() as client:
        client.send(eaves.Reading("pump-7", now, {"temperature": 72.5, "status": "online"}))
    _until_taken("pump-7", "temperature")
    found = examples(REPOSITORY / page)
    assert found
    for number, example in enumerate(found):
        run(example, f"{page}, example {number + 1}")


def _until_taken(entity: str, attribute: str) -> None:
    """Ingest takes what is on the stream a moment later."""
    end = time.monotonic() + 60
    with eaves.Client() as client:
        while True:
            # The replica that the examples may be answered from must have it, too.
            try:
                client.get_entity(entity, consistency="strong")
                found = client.search(attr("temperature") > 70).first()
                # Figures are made of what is flushed.
                counted = client.distribution(attribute, consistency="analytics").count
                if found and counted and client.history(entity, attribute).first():
                    return
            except (eaves.NotFound, eaves.BadRequest):
                pass
            assert time.monotonic() < end, "the readings did not arrive"
            time.sleep(0.05)
