"""The model card as JSON: what a version is for, how good it is, on what, and where it fails.

Composed from the declaration and the manifest; knows nothing of HTTP or TensorFlow.
"""

from typing import Self

from pydantic import BaseModel, Field

from service.manifest import Drawing
from service.quality import Quality
from service.registry import Servable
from service.tasks import Threshold


class Data(BaseModel):
    """The table that the version was trained on."""

    credit: str = Field(description="whose it is, where it is published, under which licence")
    errors: str = Field(description="what is known to be wrong with it")
    rows: int = Field(description="how many of its rows the version was fitted on: copies count once")
    sha256: dict[str, str] = Field(description="of each of its files")


class Making(BaseModel):
    """How the version was made, so that it can be made again."""

    made_by: str = Field(description="the command")
    recipe: str
    seed: int
    parameters: int = Field(description="numbers that training fitted")
    code_revision: str
    libraries: dict[str, str]
    forced: str | None = Field(
        description="why the publishing gate would have refused this version, had it not been forced"
    )


class Plot(BaseModel):
    """A drawing of the card."""

    url: str = Field(description="path of the PNG or SVG, below this service's root")
    title: str
    shows: str = Field(description="the same in words, for those who cannot see it")

    @classmethod
    def of(cls, servable: Servable, drawing: Drawing) -> Self:
        """The drawing of this version, by a path that stays that version's."""
        folder = f"/models/{servable.spec.name}/versions/{servable.version}/card"
        return cls(url=f"{folder}/{drawing.file}", title=drawing.title, shows=drawing.shows)


class Card(BaseModel):
    """What to know of a version before relying on it. `quality` is measured on rows kept out of training."""

    model: str
    version: int
    title: str
    purpose: str
    notice: str | None = Field(description="what it must not be used for; null where there is no such thing")
    task: str
    answers: dict[str, str] = Field(description="each output and what it means")
    threshold: Threshold | None
    data: Data
    quality: Quality
    limits: list[str]
    training: Making
    drawings: list[Plot]


def card(servable: Servable) -> Card:
    """Compose the card of one version."""
    spec, manifest = servable.spec, servable.manifest
    training, provenance = manifest.training, manifest.provenance
    return Card(
        model=spec.name,
        version=servable.version,
        title=spec.title,
        purpose=spec.description,
        notice=provenance.notice,
        task=spec.task.name,
        answers={output.name: output.meaning for output in spec.outputs},
        threshold=spec.threshold,
        data=Data(
            credit=provenance.credit,
            errors=provenance.errors,
            rows=training.rows,
            sha256=training.data_sha256,
        ),
        quality=manifest.quality,
        limits=provenance.limits,
        training=Making(
            made_by=provenance.made_by,
            recipe=training.recipe,
            seed=training.seed,
            parameters=training.parameters,
            code_revision=training.code_revision,
            libraries=training.libraries,
            forced=provenance.forced,
        ),
        drawings=[Plot.of(servable, drawing) for drawing in provenance.drawings],
    )
