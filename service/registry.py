"""Which versions of which models are served, and why the others are not.

Knows folders and names; what a version is made of it learns from the `load` that it is given.
"""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from service.errors import ArtifactRejected, NotReady, UnknownModel, UnknownVersion
from service.features import Matrix
from service.manifest import Manifest
from service.spec import ModelSpec
from service.tasks import Outputs

log = logging.getLogger(__name__)


class Servable(Protocol):
    """One version that answers. `card` is Markdown, `drawings` the card's PNG and SVG files by name."""

    spec: ModelSpec
    version: int
    manifest: Manifest
    card: str
    drawings: Mapping[str, bytes]

    def predict(self, matrix: Matrix) -> Outputs:
        """Return the declared outputs for float32 rows (n, d)."""
        ...

    def explain(self, matrix: Matrix) -> Outputs:
        """Return attributions, prediction, baseline and its prediction for float32 rows (n, d)."""
        ...


# TensorFlow Serving's folders are numbered 1, 2, ... or by Unix time.
VERSION = "[1-9][0-9]{0,17}"
Load = Callable[[Path, ModelSpec], Servable]


class Registry:
    """The versions that are served, by model, and the reasons of those that were rejected."""

    def __init__(self, models: Mapping[str, ModelSpec], device: str = "cpu") -> None:
        """Start with no version at all; `device` is what servables compute on."""
        self.models = dict(models)
        self.device = device
        self.rejected: dict[str, dict[int, str]] = {name: {} for name in models}
        self._served: dict[str, dict[int, Servable]] = {name: {} for name in models}

    def scan(self, root: Path, load: Load) -> None:
        """Load every version folder below `root`; a version that is rejected stays out, named with why."""
        for name, spec in self.models.items():
            for version, folder in sorted(_versions(root / name).items()):
                try:
                    self.add(load(folder, spec))
                    log.info("serving %s version %d", name, version)
                except ArtifactRejected as error:
                    self._reject(name, version, str(error))
                except Exception as error:
                    # One damaged version must not keep the others from being served.
                    self._reject(name, version, f"it could not be loaded ({type(error).__name__}: {error})")

    def _reject(self, model: str, version: int, reason: str) -> None:
        self.rejected[model][version] = reason
        log.error("rejected %s version %d: %s", model, version, reason)

    def add(self, servable: Servable) -> None:
        """Serve this version beside the others of its model."""
        versions = {**self._served[servable.spec.name], servable.version: servable}
        self._served[servable.spec.name] = dict(sorted(versions.items(), reverse=True))

    def versions(self, model: str) -> Mapping[int, Servable]:
        """The served versions of a model, newest first, not to be changed. Raises UnknownModel."""
        if model not in self._served:
            raise UnknownModel(f"There is no such model. Served are: {', '.join(self.models)}.")
        return self._served[model]

    def servable(self, model: str, version: int | None = None) -> Servable:
        """The named version, or the newest. Raises UnknownModel, UnknownVersion or NotReady."""
        versions = self.versions(model)
        if version is None:
            if not versions:
                raise NotReady(f"No version of {model} is being served; /health/ready says why.")
            return next(iter(versions.values()))
        if version not in versions:
            listed = ", ".join(map(str, versions)) or "none"
            raise UnknownVersion(f"This version of {model} is not being served. Served are: {listed}.")
        return versions[version]

    def reasons(self) -> dict[str, str]:
        """Why each declared model that no version answers is not ready; {} when all are."""
        return {
            name: "; ".join(f"version {version}: {why}" for version, why in self.rejected[name].items())
            or "there is no version of it in the artifacts folder"
            for name, versions in self._served.items()
            if not versions
        }

    @property
    def ready(self) -> bool:
        """Whether there are models and each of them has a version that answers."""
        return bool(self.models) and not self.reasons()


def _versions(folder: Path) -> dict[int, Path]:
    """The version folders: those with a plain whole number for a name, which 01 is not."""
    if not folder.is_dir():
        return {}
    return {
        int(path.name): path
        for path in folder.iterdir()
        if re.fullmatch(VERSION, path.name) and path.is_dir()
    }
