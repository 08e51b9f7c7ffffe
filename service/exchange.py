"""One exchange: from the head of a request to the bytes of its answer, in any dialect.

Knows HTTP's headers, and whom to ask for what; which paths there are is known in `routes` and `dialects`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.actions import Action
from service.engine import Answer, Engine, Read
from service.errors import NotReady, ShuttingDown, TooLarge
from service.instances import Asked
from service.limits import Bodies, Door, Stage
from service.protocol import MAX_ROWS
from service.registry import Registry
from service.requests import HttpCaller, Receive, announced, body_of, bound, headers_of, timeout
from service.settings import Settings
from service.telemetry import Telemetry
from service.watch import Watch

# What makes the reader of a body of a request's headers; it raises what the body need not be read for.
Reading = Callable[[Mapping[bytes, bytes]], Read]


@dataclass
class State:
    """What every request has at hand, as `app.state`: plain attributes, as Starlette's own cost a look-up."""

    settings: Settings
    telemetry: Telemetry
    engine: Engine
    registry: Registry
    door: Door
    bodies: Bodies
    watch: Watch

    def check_ready(self) -> None:
        """Raise ShuttingDown while the service leaves, NotReady with the reasons while a model is missing."""
        if self.door.stage != Stage.OPEN:
            raise ShuttingDown
        if not self.registry.ready:
            reasons = [f"{name}: {reason}" for name, reason in self.registry.reasons().items()]
            raise NotReady("; ".join(reasons) or "No model is declared.")


async def exchange(
    action: Action, scope: Any, receive: Receive, version: int | str | None, reading: Reading
) -> Answer:
    """Do what a request asks, body to body, and count its rows. Raises ServiceError.

    `version` is a number, a label, or None for the version that answers. The body is bounded, inflated and
    waited for here, whatever it says.
    """
    state: State = scope["app"].state
    servable = state.registry.servable(action.judge.spec.name, version)
    headers = headers_of(scope)
    read = reading(headers)
    if state.settings.max_rows < MAX_ROWS:  # which is bounded anyhow
        read = of_at_most(state.settings.max_rows, read)
    caller = HttpCaller(receive, timeout(headers, state.settings.request_timeout_s))
    size = announced(headers)
    bound(size or 0, state.settings.max_body_bytes)
    if size is not None and b"content-encoding" not in headers:
        # Before the body is read: to read one that is refused took longer than to refuse it.
        state.engine.refuse_late(action, servable, size, caller)
    body = await body_of(headers, receive, state.settings, state.bodies, caller.deadline)
    try:
        answered = await state.engine.answer(action, servable, read, body, caller)
    finally:
        state.bodies.resize(len(body), 0)
    state.telemetry.count_rows(servable.spec.name, servable.version, action.name, answered.instances)
    return answered


def of_at_most(rows: int, read: Read) -> Read:
    """The same reader, which raises TooLarge for more rows than these."""

    def bounded(body: bytes) -> Asked:
        instances, options = read(body)
        if instances.rows > rows:
            raise TooLarge(f"A request may hold at most {rows:,} rows; send several requests.")
        return instances, options

    return bounded
