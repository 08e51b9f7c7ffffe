"""Asks every action of every model its own example before the service is ready, or a new version answers.

The first request of each would take up to thirty times as long as the later ones: buffers, code and caches
are touched for the first time. Knows asyncio; knows nothing of HTTP or TensorFlow.
"""

import asyncio
import json
import logging
import math
from collections.abc import Iterable

import numpy as np

from service.actions import Action
from service.engine import Engine
from service.errors import ServiceError
from service.openapi import example
from service.registry import Registry, Servable

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


def warm(servable: Servable, offered: Iterable[Action]) -> None:
    """Answer the example of each action that is offered of its model, and compute a full call of such rows.

    On the thread that calls: a version is warmed beside the one that answers, before it takes over.
    """
    for action in offered:
        instances, parameters = action.judge.json(_body(action))
        try:
            job = action.job(servable, instances, parameters)
            rows = np.asarray(job.cells, np.float32)
            for _ in range(TIMES):
                job.answer(job.compute(rows))
                job.compute(np.resize(rows, (job.rows, rows.shape[1])))
        except ServiceError as error:
            _say(action, error)
    log.info("warmed up %s version %d", servable.spec.name, servable.version)


async def warm_up(engine: Engine, registry: Registry, offered: Iterable[Action]) -> None:
    """Answer each action's example as a request is answered, by the version that answers if there is one."""
    for action in offered:
        judge = action.judge
        servable = registry.served(judge.spec.name).answering
        if servable is None:
            continue
        try:
            for _ in range(TIMES):
                await engine.answer(action, servable, judge.json, _body(action), Patient())
        except ServiceError as error:
            _say(action, error)
    log.info("warmed up")


def _body(action: Action) -> bytes:
    return json.dumps(example(action.judge)).encode()


def _say(action: Action, error: ServiceError) -> None:
    """Log it, and no more: one damaged version must not keep the others from being served."""
    log.error("%s does not %s its own example: %s", action.judge.spec.name, action.name, error)
