"""How good a model is: figures with their intervals, as the manifest, the card and the answers have them.

Data only; knows nothing of how the figures were measured.
"""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the manifest; an unknown field means that a newer program wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Figure(Part):
    """A metric with its 95 % interval; the interval is absent where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class Group(Part):
    """Metrics of a part of the rows: `of` is what divides them, such as `age`, `name` the part's name."""

    of: str
    name: str
    rows: int
    metrics: dict[str, Figure]


class Covered(Part):
    """How often intervals or sets held the truth on rows that their critical values had not seen.

    `of` is whose rows: a label of the target, or "all". `size` is the mean width of the intervals, in the
    target's unit, or the mean number of labels in the sets.
    """

    coverage: float
    of: str
    rows: int
    share: Figure
    size: float


class Study(Part):
    """The same metrics of several models under another protocol, such as a published paper's."""

    name: str
    protocol: str
    rows: int
    figures: dict[str, dict[str, Figure]]
    source: str = ""


class Quality(Part):
    """Metrics of the recipe on rows that it was not fitted on, beside others' on the same rows.

    `baseline` is the trivial one's, `others` those of further models by name, such as `linear`. `margin` is
    how much smaller the model's loss is than the baseline's, row by row.
    """

    protocol: str
    rows: int
    metrics: dict[str, Figure]
    baseline: dict[str, Figure]
    margin: Figure | None = None
    others: dict[str, dict[str, Figure]] = {}
    groups: list[Group] = []
    covered: list[Covered] = []
    studies: list[Study] = []
