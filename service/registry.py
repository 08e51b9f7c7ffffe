"""Which versions of which models are served, and why the others are not.

Knows folders and names; what a version is made of it learns from the `load` that it is given. What is
served of a model is one object, replaced as a whole: a request that has begun keeps the version it found.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from errno import E2BIG
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from service import labels
from service.errors import ArtifactRejected, NotReady, UnknownModel, UnknownVersion
from service.features import Matrix
from service.files import MOST_ENTRIES, below
from service.labels import STABLE
from service.manifest import Manifest
from service.spec import ModelSpec
from service.tasks import Outputs

log = logging.getLogger(__name__)


class Servable(Protocol):
    """One version that answers. `card` is Markdown, `drawings` the card's PNG and SVG files by name.

    `digest` is the SHA-256 of its manifest.json, which has those of all its other files.
    """

    spec: ModelSpec
    version: int
    digest: str
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
# What tells whether a folder has changed since it was looked at: name, size and time of each entry.
Print = frozenset[tuple[str, int, int]]
# How many of the newest versions are served, besides those that bear a label.
NEWEST = 2
# Beyond, it is something else that was put in a model's folder; it is listed at each look.
MOST_VERSIONS = 10_000


@dataclass(frozen=True)
class Served:
    """What is served of one model at a moment: versions, newest first, and the labels that point at them.

    `desired` is the version that would answer if all that is in the folder were right; `promoted` whether a
    label says so, or might: `fault` is why the labels in the folder cannot be read, and those of before hold.
    Where there are none of before, nobody knows what is promoted.
    """

    versions: Mapping[int, Servable] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    desired: int | None = None
    promoted: bool = False
    fault: str | None = None

    @cached_property
    def answering(self) -> Servable | None:
        """The version that answers if none is named: the stable one, else the newest.

        None where the stable one cannot be served: nobody has promoted another.
        """
        if self.promoted:
            return self.versions.get(self.labels.get(STABLE, 0))
        return next(iter(self.versions.values()), None)


class Registry:
    """The versions that are served, by model, and the reasons of those that were rejected."""

    def __init__(self, models: Mapping[str, ModelSpec], device: str = "cpu") -> None:
        """Start with no version at all; `device` is what servables compute on."""
        self.models = dict(models)
        self.device = device
        self.rejected: dict[str, dict[int, str]] = {name: {} for name in models}
        self._served = {name: Served() for name in models}
        self._prints: dict[tuple[str, int], Print | None] = {}
        self._lost: set[str] = set()

    def scan(self, root: Path, load: Load) -> bool:
        """Make what is served be what stands below `root`; return whether anything was changed.

        Served are the NEWEST versions that can be, and those with a label. A version that is rejected stays
        out, named with why, and is tried again when its folder has changed. Those that are no longer wanted
        are let go once their successors are there. A label whose new version cannot be served stays with its
        old one; and the last versions of a model stay with their labels, whatever its folder says.
        """
        changed = [self._scanned(name, root / name, load) for name in self.models]
        return any(changed)

    def _scanned(self, name: str, home: Path, load: Load) -> bool:
        try:
            return self._scan(name, home, load)
        except OSError as error:
            # A folder that cannot be listed must not keep the other models from being looked at.
            log.error("%s: its folder cannot be read: %s", name, error.strerror)
            return False

    def _scan(self, name: str, home: Path, load: Load) -> bool:
        before, named = self._served[name], named_as_versions(home)
        folders = {version: path for version, path in named.items() if path.is_dir()}
        pointing, fault = self._labels(name, home, before)
        kept = self._kept(name, folders, {*pointing.values()}, before, load)
        unknown = bool(fault) and STABLE not in pointing and (before.promoted or not before.versions)
        desired = pointing.get(STABLE) or (None if unknown else max(folders, default=None))
        if not kept and before.versions:
            self._lose(name, "there is no version in its folder that can be served; what was served goes on")
            served = replace(before, desired=desired, fault=fault)
        else:
            self._lost.discard(name)
            versions, labelled = _moved(before, kept, pointing)
            served = Served(versions, labelled, desired, STABLE in pointing or unknown, fault)
        self._forget_rejections(name, named, folders, pointing, served.versions)
        for version in named.keys() - folders.keys() - {*pointing.values()}:
            self._reject(name, version, "it is no folder; put the version's folder there", None)
        self._serve(name, served)
        return before != served

    def _kept(
        self, name: str, folders: Mapping[int, Path], labelled: Collection[int], before: Served, load: Load
    ) -> dict[int, Servable]:
        """The newest versions that can be served, and the labelled ones; loaded where they were not."""
        kept: dict[int, Servable] = {}
        for version in sorted(folders, reverse=True):
            if len(kept) < NEWEST or version in labelled:
                found = before.versions.get(version) or self._loaded(name, version, folders[version], load)
                if found:
                    kept[version] = found
        return kept

    def _lose(self, name: str, why: str) -> None:
        """Say once that a model goes on without its folder."""
        if name not in self._lost:
            log.error("%s: %s", name, why)
        self._lost.add(name)

    def _forget_rejections(
        self,
        name: str,
        named: Collection[int],
        folders: Collection[int],
        pointing: Mapping[str, int],
        kept: Collection[int],
    ) -> None:
        """Keep the reasons of what is still there, and say of labels that point at nothing."""
        reasons = {
            version: why
            for version, why in self.rejected[name].items()
            if version in named and version not in kept
        }
        for label, version in pointing.items():
            if version not in folders:
                goes_on = "; it goes on answering for now" if version in kept else ""
                reasons[version] = f"the label `{label}` points at it, and there is no such version{goes_on}"
                if version not in self.rejected[name]:
                    log.error(
                        "%s: the label %s points at version %d, which is not there", name, label, version
                    )
        self.rejected[name] = reasons

    def _serve(self, name: str, served: Served) -> None:
        """Replace what is served of a model, and say what that changes."""
        before, self._served[name] = self._served[name], served
        for version in before.versions.keys() - served.versions.keys():
            log.info("retired %s version %d", name, version)
        if before.answering is not served.answering or before.desired != served.desired:
            answering = served.answering.version if served.answering else "no version"
            log.info("%s: %s answers, desired is %s", name, answering, served.desired)

    def _labels(self, name: str, home: Path, before: Served) -> tuple[Mapping[str, int], str | None]:
        """The labels in the folder; where they cannot be read those of before, and why."""
        try:
            return labels.read(home), None
        except ArtifactRejected as error:
            if str(error) != before.fault:
                log.error("%s: %s", name, error)
            return before.labels, str(error)

    def _loaded(self, name: str, version: int, folder: Path, load: Load) -> Servable | None:
        """The version in a folder; None if it is rejected, or was and has not changed."""
        found = _print(folder)
        if version in self.rejected[name] and self._prints.get((name, version)) == found:
            return None
        try:
            servable = load(folder, self.models[name])
        except ArtifactRejected as error:
            self._reject(name, version, str(error), found)
        except OSError as error:
            # A disk or a limit of the system may be at fault: it is tried again, changed or not.
            self._reject(name, version, f"it could not be read ({error.strerror or error})", None)
        except Exception as error:
            # One damaged version must not keep the others from being served.
            self._reject(name, version, f"it could not be loaded ({type(error).__name__}: {error})", found)
        else:
            self.rejected[name] = {one: why for one, why in self.rejected[name].items() if one != version}
            log.info("serving %s version %d", name, version)
            return servable
        return None

    def _reject(self, model: str, version: int, reason: str, found: Print | None) -> None:
        if self.rejected[model].get(version) != reason:
            log.error("rejected %s version %d: %s", model, version, reason)
        # Replaced and not changed: the loop may be reading it.
        self.rejected[model] = {**self.rejected[model], version: reason}
        self._prints[model, version] = found

    def add(self, servable: Servable, *labelled: str) -> None:
        """Serve this version beside the others of its model, and let these labels point at it."""
        served = self._served[servable.spec.name]
        versions = dict(sorted([*served.versions.items(), (servable.version, servable)], reverse=True))
        pointing = {**served.labels, **dict.fromkeys(labelled, servable.version)}
        stable = pointing.get(STABLE)
        self._served[servable.spec.name] = Served(
            versions, pointing, stable or max(versions), stable is not None
        )

    def served(self, model: str) -> Served:
        """What is served of a model. Raises UnknownModel."""
        if model not in self._served:
            raise UnknownModel(f"There is no such model. Served are: {', '.join(self.models)}.")
        return self._served[model]

    def versions(self, model: str) -> Mapping[int, Servable]:
        """The served versions of a model, newest first. Raises UnknownModel."""
        return self.served(model).versions

    def servable(self, model: str, version: int | str | None = None) -> Servable:
        """The version of this number or label, or the one that answers if none is named.

        Raises UnknownModel, UnknownVersion or NotReady.
        """
        served = self.served(model)
        if version is None:
            answering = served.answering
            if answering is None:
                raise NotReady(f"No version of {model} is being served; /health/ready says why.")
            return answering
        if isinstance(version, str):
            if version not in served.labels:
                listed = ", ".join(served.labels) or "none"
                raise UnknownVersion(f"There is no such label of {model}. Its labels are: {listed}.")
            version = served.labels[version]
        if version not in served.versions:
            listed = ", ".join(map(str, served.versions)) or "none"
            raise UnknownVersion(f"This version of {model} is not being served. Served are: {listed}.")
        return served.versions[version]

    def servables(self) -> list[Servable]:
        """Every version of every model that is served."""
        return [servable for served in self._served.values() for servable in served.versions.values()]

    def reasons(self) -> dict[str, str]:
        """Why each declared model that no version answers is not ready; {} when all are."""
        return {
            name: "; ".join(self._faults(name)) or "there is no version of it in the artifacts folder"
            for name, served in self._served.items()
            if served.answering is None
        }

    def _faults(self, name: str) -> Iterator[str]:
        """What is wrong with the labels and the versions of a model."""
        if fault := self._served[name].fault:
            yield fault
        yield from (f"version {version}: {why}" for version, why in self.rejected[name].items())

    @property
    def ready(self) -> bool:
        """Whether there are models and each of them has a version that answers."""
        return bool(self.models) and not self.reasons()


def _moved(
    before: Served, kept: Mapping[int, Servable], pointing: Mapping[str, int]
) -> tuple[Mapping[int, Servable], Mapping[str, int]]:
    """The versions that were kept, with those that labels point at, and the labels where they point now.

    Until a label's new version can be served it stays where it was: nobody has promoted another.
    """
    stayed = {STABLE: before.answering.version} if before.answering else {}
    stayed |= before.labels
    moved = {
        label: version if version in kept else stayed.get(label, 0) for label, version in pointing.items()
    }
    labelled = {one: before.versions[one] for one in moved.values() if one in before.versions}
    versions = dict(sorted({**labelled, **kept}.items(), reverse=True))
    return MappingProxyType(versions), {
        label: version for label, version in moved.items() if version in versions
    }


def version_folders(folder: Path) -> dict[int, Path]:
    """The version folders of a model. Raises OSError."""
    return {version: path for version, path in named_as_versions(folder).items() if path.is_dir()}


def named_as_versions(folder: Path) -> dict[int, Path]:
    """What is named as a version is, by a plain whole number, which 01 is not: folders, and what should be.

    Raises OSError, also where there is more in the folder than a model has.
    """
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        found = list(islice(entries, MOST_VERSIONS + 1))
    if len(found) > MOST_VERSIONS:
        raise OSError(E2BIG, f"there is more in it than {MOST_VERSIONS:,} versions; remove what is none")
    return {int(entry.name): Path(entry) for entry in found if re.fullmatch(VERSION, entry.name)}


def _print(folder: Path) -> Print:
    """What a folder looks like, without reading its files or following a link in it."""
    found = set()
    with suppress(OSError):  # it may not be read, as loading will say, or is just being replaced
        for path in islice(below(folder), MOST_ENTRIES + 1):
            status = path.lstat()
            # Unlike the time of modification, which a copy may bring along, this one cannot be set.
            found.add((str(path.relative_to(folder)), status.st_size, status.st_ctime_ns))
    return frozenset(found)
