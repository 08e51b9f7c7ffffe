"""Version folders without a model in them, which arithmetic answers for."""

from pathlib import Path

from mean_servable import MeanServable
from service.errors import ArtifactRejected
from service.spec import ModelSpec


def publish(home: Path, *versions: int) -> None:
    """Make version folders that arithmetic answers for."""
    for version in versions:
        (home / str(version)).mkdir(parents=True)


def arithmetic(folder: Path, spec: ModelSpec) -> MeanServable:
    """Load a version, unless it holds a file that says why not."""
    if (folder / "broken").exists():
        raise ArtifactRejected((folder / "broken").read_text())
    return MeanServable(spec, int(folder.name))
