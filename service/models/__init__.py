"""The declarations. MODELS is the only list of models: routes, docs, training and tests read it."""

from service.models.and_gate import AND_GATE
from service.models.survival import SURVIVAL
from service.models.wine import WINE_GRADE, WINE_QUALITY, WINE_TYPE
from service.spec import ModelSpec

MODELS: dict[str, ModelSpec] = {
    spec.name: spec for spec in (AND_GATE, SURVIVAL, WINE_TYPE, WINE_QUALITY, WINE_GRADE)
}
