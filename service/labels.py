"""The labels of a model: names, such as `stable`, that are moved from version to version.

`labels.json` stands beside the versions: {"stable": 3}. Knows files and JSON; knows nothing of HTTP or
TensorFlow.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from service.errors import ArtifactRejected
from service.files import plain, replace

FILE = "labels.json"
# Which version answers if a request names none, where a model has this label.
STABLE = "stable"
NAME = "[a-z][a-z0-9_-]{0,31}"
MOST_BYTES = 2**16
_LABELS = TypeAdapter(
    dict[Annotated[str, Field(pattern=f"^{NAME}$")], Annotated[int, Field(ge=1, strict=True)]]
)


def read(home: Path) -> dict[str, int]:
    """The labels below artifacts/<model>/, {} without the file. Raises ArtifactRejected if it is not one."""
    try:
        return _LABELS.validate_json(plain(home / FILE, MOST_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError, ArtifactRejected):
        raise ArtifactRejected(
            f'{FILE} is not a list of labels; write {{"{STABLE}": 3}}, or move one with'
            f" `python -m service promote {home.name} VERSION`"
        ) from None


def write(home: Path, labels: Mapping[str, int]) -> None:
    """Replace the labels of a model; who serves it may be another user, and reads them. Raises OSError."""
    replace(home / FILE, json.dumps(dict(labels)), 0o644)


def is_name(text: str) -> bool:
    """Whether a label may be called so."""
    return bool(re.fullmatch(NAME, text))
