"""How often one caller may ask, in the notation of the library `limits`: `5000/minute;100/second`.

Knows the library and its stores; knows nothing of HTTP.
"""

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Callable
from functools import lru_cache

from limits import parse_many
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string

from service.errors import Misconfigured, RateExceeded

log = logging.getLogger(__name__)

MEMORY = "memory://"
# Seconds that a store has to answer, and that it is left alone after it had not.
ANSWER_S, ALONE_S = 0.25, 1.0
# Seconds between two lines that say so.
SILENCE_S = 60.0


class Windows(Storage):
    """Counters in memory. The library's own store walks through all of them at every request.

    With the counters of 20,000 addresses that takes 2.7 ms; this one walks once a second.
    """

    STORAGE_SCHEME = None
    base_exceptions = ()

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Count nothing yet."""
        super().__init__()
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._next = 0.0

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count; a window begins with its first request."""
        now = self._clock()
        if now >= self._next:
            self._next = now + 1
            self._counts = {one: (had, ends) for one, (had, ends) in self._counts.items() if ends > now}
        had, ends = self._counts.get(key, (0, 0.0))
        had, ends = (had, ends) if ends > now else (0, now + expiry)
        self._counts[key] = had + amount, ends
        return had + amount

    async def get(self, key: str) -> int:
        """The count of a window."""
        had, ends = self._counts.get(key, (0, 0.0))
        return had if ends > self._clock() else 0

    async def get_expiry(self, key: str) -> float:
        """When a window ends, in seconds of the epoch."""
        return self._counts.get(key, (0, self._clock()))[1]

    async def check(self) -> bool:
        """Memory is always there."""
        return True

    async def reset(self) -> int:
        """Forget every count."""
        before, self._counts = len(self._counts), {}
        return before

    async def clear(self, key: str) -> None:
        """Forget a count."""
        self._counts.pop(key, None)


class Rate:
    """Counts requests by whose they are, in windows that begin with the first one."""

    def __init__(self, notation: str, store: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow so many, counted in `store`."""
        # The shortest first: what it refuses does not count in a longer one.
        self._items = sorted(parse_many(notation), key=lambda item: item.get_expiry())
        self._limiter = FixedWindowRateLimiter(store)
        self._clock = clock
        self._again = self._speaks = -math.inf

    async def spend(self, *whose: str) -> None:
        """Count a request. Raises RateExceeded; without its store nobody is refused."""
        if self._clock() < self._again:
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                ends = await self._exceeded(*whose)
        except Exception as error:  # each store has its own
            self._leave_alone(error)
            return
        if ends is not None:
            raise RateExceeded(max(1, math.ceil(ends - time.time())))

    async def _exceeded(self, *whose: str) -> float | None:
        """When the window ends that has no room for one more; None where every one has."""
        for item in self._items:
            if not await self._limiter.hit(item, *whose):
                return (await self._limiter.get_window_stats(item, *whose)).reset_time
        return None

    def _leave_alone(self, error: Exception) -> None:
        now = self._clock()
        self._again = now + ALONE_S
        if now >= self._speaks:
            self._speaks = now + SILENCE_S
            log.error(
                "the store of the rate limit does not answer: %s; nobody is limited", type(error).__name__
            )


def store(url: str) -> Storage:
    """The store at an address, which is not asked yet. Raises Misconfigured, without the address."""
    if url == MEMORY:
        return Windows()
    try:
        made = storage_from_string(f"async+{url}", implementation="redispy")
    except Exception:  # whatever is in it, the address may hold a password
        raise Misconfigured(
            "rate_limit_storage is no address such as redis://host:6379, or the package redis is missing:"
            " `.venv/bin/pip install redis`"
        ) from None
    assert isinstance(made, Storage)
    return made


@lru_cache(maxsize=10_000)
def network(host: str) -> str:
    """Whose an address is: an IPv6 caller has 2^64 of them (RFC 6177), so they count as one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
