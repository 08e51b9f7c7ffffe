"""Steady load of many clients, whose answers are checked; what was lost is told from what was refused.

Knows HTTP and asyncio; knows nothing of what happens to the service meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

# How long a client stays away that was refused.
AWAY_S = 0.01

# What says whether an answer is right: None, or what is wrong with it.
Check = Callable[[httpx.Response], str | None]


@dataclass
class Outcomes:
    """What became of requests: answers by status, and how many were wrong, unsent or lost.

    Unsent is a request whose connection was refused; lost is one that was sent and never answered.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    unsent: int = 0


@dataclass(frozen=True)
class Asked:
    """What is posted, or without a body asked for, and what may come back."""

    path: str
    body: bytes | None
    check: Check


@asynccontextmanager
async def steady(url: str, asked: list[Asked], clients: int) -> AsyncIterator[Outcomes]:
    """Post from so many clients, each as soon as it has its answer, one thing asked after another."""
    outcomes = Outcomes()
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_client(url, asked, number, outcomes, stop)) for number in range(clients)]
    try:
        yield outcomes
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _client(url: str, asked: list[Asked], number: int, outcomes: Outcomes, stop: asyncio.Event) -> None:
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        while not stop.is_set():
            one = asked[number % len(asked)]
            number += 1
            try:
                response = await client.request("POST" if one.body else "GET", one.path, content=one.body)
            except httpx.ConnectError:
                outcomes.unsent += 1
                await asyncio.sleep(AWAY_S)
            except httpx.TransportError as error:
                outcomes.lost[type(error).__name__] += 1
            else:
                outcomes.statuses[response.status_code] += 1
                if fault := one.check(response):
                    outcomes.wrong[fault] += 1
                if response.status_code == 503:
                    await asyncio.sleep(AWAY_S)
