"""Settings of all tests, and the platform that some of them run against."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("eaves", deadline=None, max_examples=30)
settings.load_profile("eaves")

REPOSITORY = Path(__file__).parents[3]
START_S, STOP_S = 300.0, 60.0


@dataclass
class Platform:
    """A running Eaves with a data folder of its own."""

    eaves: Path
    data: Path
    url: str

    def run(self, *arguments: str) -> str:
        """Runs the command line against it."""
        done = subprocess.run(
            [self.eaves, *arguments, "--data", self.data],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"eaves {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def token(self, tenant: str, *, scope: str = "query:read telemetry:write") -> str:
        """A token for a tenant."""
        return self.run("token", "--tenant", tenant, "--scope", scope)


def _program() -> Path:
    folder = Path(os.environ.get("EAVES_BIN") or REPOSITORY / "target" / "debug")
    program = folder if folder.is_file() else folder / "eaves"
    if not program.is_file():
        pytest.fail(
            f"there is no {program}: run `make build`, set EAVES_BIN, or leave out -m platform", False
        )
    return program


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """Starts a platform, and stops it in every case."""
    program = _program()
    data = Path(tempfile.mkdtemp(prefix="eaves-python-"))
    # Root's databases run as another user, who must get through.
    data.chmod(0o711)
    # Settings of whoever runs the tests are for another platform.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EAVES_")}
    process = subprocess.Popen(
        [program, "local", "up", "--data", data],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean,
    )
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    # Reads until the platform ends, so that it never waits for a reader.
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        url = _address(lines)
        running = Platform(program, data, url)
        for tenant in ("python", "readme", "other"):
            running.run("tenant", "create", tenant)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(STOP_S)
        process.stdout.close()
        shutil.rmtree(data, ignore_errors=True)


def _read(output: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in output:
        lines.put(line)
    lines.put(None)


def _address(lines: queue.Queue[str | None]) -> str:
    """Where the API listens, as the platform says once it is ready."""
    said: list[str] = []
    end = time.monotonic() + START_S
    while True:
        try:
            line = lines.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            line = None
        if line is None:
            pytest.fail(f"the platform did not start: {''.join(said)}", False)
        said.append(line)
        if line.startswith("HTTP API"):
            return line.split()[-1]
