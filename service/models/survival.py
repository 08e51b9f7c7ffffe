"""Survival of the first year after lung-cancer surgery.

Thoracic Surgery Data, UCI id 277, doi:10.24432/C5Z60N, CC BY 4.0; Zieba et al. (2014), Applied Soft
Computing 14, 99-108. Column codes in `source` are that table's.
"""

from typing import Annotated

from service.features import Row, category, count, flag, quantity
from service.spec import ModelSpec
from service.tasks import Binary, Threshold

DIAGNOSES = {f"DGN{code}": code for code in range(1, 9)}
TUMOUR_SIZES = {f"OC{code}": code for code in range(11, 15)}


class Patient(Row):
    """A patient with primary lung cancer before a major lung resection."""

    diagnosis: Annotated[
        str,
        category(
            "combination of ICD-10 codes for primary, secondary and multiple tumours",
            levels=DIAGNOSES,
            source="DGN",
        ),
    ]
    forced_vital_capacity: Annotated[
        float, quantity("forced vital capacity (FVC)", unit="litre", low=0.5, high=10, source="PRE4")
    ]
    forced_expiratory_volume_1s: Annotated[
        float,
        quantity(
            "volume exhaled in the first second of forced expiration (FEV1)"
            " in litres, not per cent of the predicted volume",
            unit="litre",
            low=0.2,
            high=8,
            source="PRE5",
            at_most="forced_vital_capacity",
        ),
    ]
    performance_status: Annotated[
        int,
        count("performance status, Zubrod scale: 0 fully active, 4 bedridden", low=0, high=4, source="PRE6"),
    ]
    pain: Annotated[bool, flag("pain before surgery", source="PRE7")]
    haemoptysis: Annotated[bool, flag("haemoptysis before surgery", source="PRE8")]
    dyspnoea: Annotated[bool, flag("dyspnoea before surgery", source="PRE9")]
    cough: Annotated[bool, flag("cough before surgery", source="PRE10")]
    weakness: Annotated[bool, flag("weakness before surgery", source="PRE11")]
    tumour_size: Annotated[
        str,
        category(
            "T in clinical TNM, size of the original tumour: OC11 smallest, OC14 largest",
            levels=TUMOUR_SIZES,
            source="PRE14",
        ),
    ]
    diabetes: Annotated[bool, flag("type 2 diabetes mellitus", source="PRE17")]
    recent_myocardial_infarction: Annotated[
        bool, flag("myocardial infarction in the six months before", source="PRE19")
    ]
    peripheral_arterial_disease: Annotated[bool, flag("peripheral arterial disease", source="PRE25")]
    smoking: Annotated[bool, flag("smoking", source="PRE30")]
    asthma: Annotated[bool, flag("asthma", source="PRE32")]
    age: Annotated[int, count("age at surgery", unit="years", low=18, high=110, source="AGE")]


SURVIVAL = ModelSpec(
    name="survival",
    title="Death within one year of lung-cancer surgery",
    description=(
        "Probability that a patient dies within one year of a major lung resection for primary lung"
        " cancer. For research and teaching; not for clinical use."
    ),
    row=Patient,
    target=category(
        "what happened within one year of surgery",
        levels={"survival": 0, "death_within_one_year": 1},
        source="Risk1Yr",
    ).named("outcome"),
    task=Binary(
        event="probability_of_death_within_one_year",
        complement="probability_of_survival",
        threshold=Threshold(
            0.149, "prevalence", "70 of the 470 patients died: above it, a risk above the average patient's"
        ),
        # Sets that are right on average would leave out two deaths in three: they are the rare class.
        sets="per_class",
    ),
    # Patient 1 of the table, as the lecture prints it.
    example={
        "diagnosis": "DGN2",
        "forced_vital_capacity": 2.88,
        "forced_expiratory_volume_1s": 2.16,
        "performance_status": 1,
        "pain": False,
        "haemoptysis": False,
        "dyspnoea": False,
        "cough": True,
        "weakness": True,
        "tumour_size": "OC14",
        "diabetes": False,
        "recent_myocardial_infarction": False,
        "peripheral_arterial_disease": False,
        "smoking": True,
        "asthma": False,
        "age": 60,
    },
    example_target="survival",
    source_columns=("id", *(feature.source for feature in Patient.features()), "Risk1Yr"),
    identifier="id",
    notice="Not for clinical use. For research and teaching only.",
    grouped_by=("age", "tumour_size"),
)
