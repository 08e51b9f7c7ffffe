"""What the models were meant to reach, beside what they do: met or missed, and what a miss was tried with.

The aims were set before the recipes, from published results and earlier measurements on the same tables.
Knows the figures on record; computes none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from service.quality import Figure, Quality


@dataclass(frozen=True)
class Aim:
    """A figure to reach: at least `value` where `more` is better, else at most.

    `of` is whose figure: "" for all rows, a group of them, or a further study, whose first model counts.
    `tried` says, of an aim that may be missed, what was tried.
    """

    model: str
    of: str
    metric: str
    value: float
    more: bool = False
    tried: str = ""

    def found(self, quality: Quality) -> float:
        """The figure on record. Raises KeyError if there is none."""
        parts: dict[str, Mapping[str, Figure]] = {"": quality.metrics}
        parts |= {group.name: group.metrics for group in quality.groups}
        parts |= {study.name: next(iter(study.figures.values())) for study in quality.studies}
        return parts[self.of][self.metric].value

    def met(self, quality: Quality) -> bool:
        """Whether the figure on record reaches the aim."""
        found = self.found(quality)
        return found >= self.value if self.more else found <= self.value


CORTEZ_RED, CORTEZ_WHITE = (f"Cortez et al. 2009, {colour} wines" for colour in ("red", "white"))
SMALL = (
    "16 nets instead of 4, 32 units instead of 16, more L2 or dropout: AUC 0.671 to 0.676 and Brier 0.1227 to"
    " 0.1230, beside 0.672 and 0.1227 (seeds 101 to 110). Draws of folds differ by 0.01 in AUC."
)
KAPPA = (
    "A shorter and a longer reach of the kernel, and Laplace kernels. The most probable grade is answered:"
    " right most often, it favours the common grades."
)
AIMS = (
    Aim("and_gate", "50 seeds", "accuracy", 1.0, more=True),
    Aim("survival", "", "auc", 0.68, more=True, tried=SMALL),
    Aim("survival", "", "brier", 0.1223, tried=SMALL),
    Aim("survival", "", "log_loss", 0.402, tried=SMALL),
    Aim("wine_type", "", "accuracy", 1 - 25 / 6497, more=True),
    Aim("wine_type", "", "log_loss", 0.024),
    Aim("wine_type", "", "auc", 0.997, more=True),
    Aim("wine_quality", "red", "rmse", 0.625),
    Aim("wine_quality", "white", "rmse", 0.690),
    Aim("wine_quality", "red", "within_0.5", 0.62, more=True),
    Aim("wine_quality", "white", "within_0.5", 0.57, more=True),
    Aim("wine_quality", "red", "mae_of_median", 0.467),
    Aim("wine_quality", "white", "mae_of_median", 0.523),
    Aim("wine_quality", "public benchmark, both colours", "rmse", 0.600),
    Aim("wine_quality", CORTEZ_RED, "mae_of_median", 0.365),
    Aim("wine_quality", CORTEZ_WHITE, "mae_of_median", 0.375),
    Aim("wine_quality", CORTEZ_RED, "within_0.5", 0.70, more=True),
    Aim("wine_quality", CORTEZ_WHITE, "within_0.5", 0.695, more=True),
    Aim("wine_grade", "red", "log_loss", 0.925),
    Aim("wine_grade", "white", "log_loss", 1.027),
    Aim("wine_grade", "red", "quadratic_kappa", 0.56, more=True, tried=KAPPA),
    Aim("wine_grade", "white", "quadratic_kappa", 0.52, more=True, tried=KAPPA),
    Aim("wine_grade", "", "calibration_error", 0.03),
)  # fmt: skip


def report(records: Mapping[str, Quality]) -> str:
    """Return every aim beside what was found, Markdown; `records` are the figures of every model."""
    return "\n".join(_lines(records)) + "\n"


def _lines(records: Mapping[str, Quality]) -> Iterator[str]:
    yield from ("# Aims", "", "What the models were meant to reach, beside the figures on record.", "")
    yield from ("| model | of | metric | aim | found | |", "|---|---|---|---|---|---|")
    for aim in AIMS:
        quality = records[aim.model]
        bound = f"at {'least' if aim.more else 'most'} {aim.value:.5g}"
        verdict = "met" if aim.met(quality) else "**missed**"
        cells = (aim.model, aim.of or "all", aim.metric, bound, f"{aim.found(quality):.5g}", verdict)
        yield f"| {' | '.join(cells)} |"
    yield from ("", "What was tried where an aim was missed:", "")
    missed: dict[str, list[str]] = {}
    for aim in AIMS:
        if not aim.met(records[aim.model]):
            missed.setdefault(aim.tried, []).append(f"{aim.model}, {aim.of or 'all'}, {aim.metric}")
    yield from (f"- {'; '.join(names)}: {tried}" for tried, names in missed.items())
