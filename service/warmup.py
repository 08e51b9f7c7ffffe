"""Asks every action of every model its own example before the service is ready.

The first request of each would take up to thirty times as long as the later ones: buffers, code and caches
are touched for the first time. Knows asyncio; knows nothing of HTTP or TensorFlow.
"""

import asyncio
import json
import logging
import math
from collections.abc import Iterable

from service.actions import Action
from service.engine import Engine
from service.errors import ServiceError
from service.openapi import example
from service.registry import Registry

log = logging.getLogger(__name__)

# A second and third time find the threads and buffers that the first one made.
TIMES = 3


class Patient:
    """A caller that waits for ever."""

    deadline = math.inf

    def gave_up(self) -> bool:
        """Never."""
        return False

    async def gone(self) -> None:
        """Do not return."""
        await asyncio.get_running_loop().create_future()


async def warm_up(engine: Engine, registry: Registry, offered: Iterable[Action]) -> None:
    """Answer each action's example, by the version that answers, where there is one."""
    for action in offered:
        judge = action.judge
        servable = registry.served(judge.spec.name).answering
        if servable is None:
            continue
        body = json.dumps(example(judge)).encode()
        try:
            for _ in range(TIMES):
                await engine.answer(action, servable, judge.json, body, Patient())
        except ServiceError as error:
            # One damaged version must not keep the others from being served.
            log.error("%s does not %s its own example: %s", judge.spec.name, action.name, error)
    log.info("warmed up")
