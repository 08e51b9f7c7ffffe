"""What a dialect is made of: its routes, its paths, and how it words an error.

A dialect reads bodies into `judge.Instances` (`tensors` judges matrices and named columns) and words the
graph's outputs; all between is the native dialect's: `exchange` bounds the body, shares the calls and counts
the rows of an action that `actions.raw` made.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import BaseModel

from service.actions import Action
from service.problems import Envelope
from service.routes import Shortcut


@dataclass(frozen=True)
class Dialect:
    """One way of asking, with the clients that speak it.

    `routes` gets the action `predict` of every declared model by its name. Whatever happens below a path
    that `paths` matches as a whole is told by `envelope`, refusals before the routes included. Paths that
    need no key are in `limits.HEALTH`, POSTs that only read in `security.LISTINGS`. `schemas` are the
    types that its documents refer to as #/components/schemas/NAME, `shortcuts` the whole paths that are
    posted to most, which then pass the router by.
    """

    routes: Callable[[Mapping[str, Action]], APIRouter]
    paths: re.Pattern[str]
    envelope: Envelope
    schemas: tuple[type[BaseModel], ...] = ()
    shortcuts: Callable[[Mapping[str, Action]], Mapping[str, Shortcut]] = lambda _: {}
