"""What is served, in the words of GET /models: declarations beside what their artifacts say.

Knows declarations and manifests; knows nothing of HTTP or TensorFlow.
"""

from typing import Self

from pydantic import BaseModel, Field

from service.applicability import Seen
from service.features import Feature, Value
from service.manifest import Training
from service.quality import Figure, Quality
from service.registry import Registry, Servable
from service.spec import ModelSpec
from service.tasks import Threshold


class SeenDescription(BaseModel):
    """What training saw of a feature; outside it a row is answered, and marked in `applicability`."""

    low: float | None
    high: float | None
    levels: list[float | int | bool | str] | None

    @classmethod
    def of(cls, feature: Feature, seen: Seen) -> Self:
        """Give levels their public names, and ranges only where the feature has a range."""
        if seen.levels is not None:
            return cls(low=None, high=None, levels=[feature.value(code) for code in seen.levels])
        low, high = (float(feature.value(bound)) for bound in (seen.low, seen.high))
        return cls(low=low, high=high, levels=None)


class FeatureDescription(BaseModel):
    """One feature of a row, or the target: `low` and `high` are physical bounds, both allowed."""

    name: str
    kind: str
    meaning: str
    unit: str
    low: float | None
    high: float | None
    levels: list[str] | None
    codes: list[int] | None = Field(
        description="of the levels, in the same order, as CSV cells may hold them and dialects' tensors do"
    )
    at_most: str | None
    source: str = Field(description="the column's name in the published table")
    seen: SeenDescription | None = None

    @classmethod
    def of(cls, feature: Feature, seen: Seen | None = None) -> Self:
        """Describe a declared feature, with what training saw of it."""
        return cls(
            name=feature.name,
            kind=feature.kind,
            meaning=feature.meaning,
            unit=feature.unit,
            low=feature.low,
            high=feature.high,
            levels=list(feature.levels) or None,
            codes=list(feature.levels.values()) or None,
            at_most=feature.at_most,
            source=feature.source,
            seen=SeenDescription.of(feature, seen) if seen else None,
        )


class Measured(BaseModel):
    """How good the version is on rows kept out of training; the card says more."""

    protocol: str
    rows: int
    metrics: dict[str, Figure]
    baseline: dict[str, Figure] = Field(description="of answering the training table's shares to every row")

    @classmethod
    def of(cls, quality: Quality) -> Self:
        """The model's metrics and the trivial baseline's, without groups, coverage and further models."""
        return cls(
            protocol=quality.protocol,
            rows=quality.rows,
            metrics=quality.metrics,
            baseline=quality.baseline,
        )


class ModelDescription(BaseModel):
    """One model and one version of it; without any version, what its declaration alone says."""

    name: str
    title: str
    description: str
    task: str
    ready: bool
    version: int | None = Field(
        description="the version described; of /models/{model} the one that answers if none is named"
    )
    desired: int | None = Field(
        description="the version that would answer if all that is in the artifacts folder were right: not"
        " `version` where that one is among `rejected`"
    )
    versions: list[int] = Field(description="those that are served, newest first")
    rejected: dict[int, str] = Field(description="versions that may not be served, and why")
    labels: dict[str, int] = Field(description="`stable` says which version answers if none is named")
    labels_fault: str | None = Field(
        description="why the labels in the artifacts folder cannot be read: those of before hold"
    )
    features: list[FeatureDescription]
    target: FeatureDescription
    outputs: dict[str, str]
    threshold: Threshold | None
    example: dict[str, float | int | bool | str]
    metrics: Measured | None
    training: Training | None
    card: str | None = Field(description="the model card, in Markdown")
    card_url: str | None = Field(description="path of the same card as JSON, with its drawings")


class Catalogue(BaseModel):
    """Every declared model, and the device that they compute on."""

    device: str
    models: list[ModelDescription]


def catalogue(registry: Registry) -> Catalogue:
    """Describe every declared model by the version that answers for it."""
    descriptions = [
        describe(registry, spec, registry.served(name).answering) for name, spec in registry.models.items()
    ]
    return Catalogue(device=registry.device, models=descriptions)


def describe(registry: Registry, spec: ModelSpec, servable: Servable | None) -> ModelDescription:
    """Describe a model by the given version of it, or by its declaration alone."""
    manifest = servable.manifest if servable else None
    seen = manifest.seen if manifest else {}
    return ModelDescription(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        task=spec.task.name,
        ready=servable is not None,
        version=servable.version if servable else None,
        desired=registry.served(spec.name).desired,
        versions=list(registry.versions(spec.name)),
        rejected=registry.rejected[spec.name],
        labels=dict(registry.served(spec.name).labels),
        labels_fault=registry.served(spec.name).fault,
        features=[FeatureDescription.of(feature, seen.get(feature.name)) for feature in spec.features],
        target=FeatureDescription.of(spec.target),
        outputs={output.name: output.meaning for output in spec.outputs},
        threshold=spec.threshold,
        example=dict[str, Value](spec.example),
        metrics=Measured.of(manifest.quality) if manifest else None,
        training=manifest.training if manifest else None,
        card=servable.card if servable else None,
        card_url=f"/models/{spec.name}/versions/{servable.version}/card" if servable else None,
    )
