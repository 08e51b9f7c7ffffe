"""Three models of one table: a wine's colour, its grade as a number, and its grade as a class.

Wine Quality, UCI id 186, doi:10.24432/C56S3T, CC BY 4.0; Cortez et al. (2009), Decision Support
Systems 47(4), 547-553. Each model predicts one of the 13 columns from the other twelve.
"""

from typing import Annotated

from service.features import Row, category, count, quantity
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Regression, Threshold

GRADES = (3, 4, 5, 6, 7, 8, 9)
COLOUR = category("colour of the wine", levels={"white": 0, "red": 1}, source="red")


class Measurements(Row):
    """The eleven physicochemical measurements of a Portuguese vinho verde."""

    fixed_acidity: Annotated[
        float,
        quantity("fixed acidity, as tartaric acid", unit="g/dm3", low=0, high=30, source="fixed acidity"),
    ]
    volatile_acidity: Annotated[
        float,
        quantity("volatile acidity, as acetic acid", unit="g/dm3", low=0, high=5, source="volatile acidity"),
    ]
    citric_acid: Annotated[float, quantity("citric acid", unit="g/dm3", low=0, high=10, source="citric acid")]
    residual_sugar: Annotated[
        float,
        quantity("sugar left after fermentation", unit="g/dm3", low=0, high=500, source="residual sugar"),
    ]
    chlorides: Annotated[
        float, quantity("chlorides, as sodium chloride", unit="g/dm3", low=0, high=5, source="chlorides")
    ]
    free_sulfur_dioxide: Annotated[
        float,
        quantity(
            "free sulphur dioxide",
            unit="mg/dm3",
            low=0,
            high=500,
            source="free sulfur dioxide",
            at_most="total_sulfur_dioxide",
        ),
    ]
    total_sulfur_dioxide: Annotated[
        float,
        quantity(
            "free and bound sulphur dioxide", unit="mg/dm3", low=0, high=1000, source="total sulfur dioxide"
        ),
    ]
    density: Annotated[float, quantity("density", unit="g/cm3", low=0.9, high=1.3, source="density")]
    ph: Annotated[float, quantity("pH", unit="pH", low=2, high=5, source="pH")]
    sulphates: Annotated[
        float, quantity("sulphates, as potassium sulphate", unit="g/dm3", low=0, high=10, source="sulphates")
    ]
    alcohol: Annotated[float, quantity("alcohol", unit="% vol", low=0, high=25, source="alcohol")]


class Wine(Measurements):
    """A wine of known colour."""

    type: Annotated[str, COLOUR]


class GradedWine(Measurements):
    """A wine of known grade."""

    quality: Annotated[
        int,
        count(
            "median of at least three blind tastings, 0 very bad to 10 excellent",
            unit="grade",
            low=0,
            high=10,
            source="quality",
        ),
    ]


SOURCE_COLUMNS = (*(feature.source for feature in Measurements.features()), "quality", "red")

# The first red wine that the lecture prints, which has 36 where the table has 38.
MEASURED = {
    "fixed_acidity": 8.5,
    "volatile_acidity": 0.47,
    "citric_acid": 0.27,
    "residual_sugar": 1.9,
    "chlorides": 0.058,
    "free_sulfur_dioxide": 18,
    "total_sulfur_dioxide": 38,
    "density": 0.99518,
    "ph": 3.16,
    "sulphates": 0.85,
    "alcohol": 11.1,
}

WINE_TYPE = ModelSpec(
    name="wine_type",
    title="Red or white",
    description="Probability that a vinho verde is red, from its measurements and its grade.",
    row=GradedWine,
    target=COLOUR.named("type"),
    task=Binary(
        event="probability_of_red",
        complement="probability_of_white",
        threshold=Threshold(0.5, "more probable", "the more probable colour is answered"),
        # Sets that are right on average would hold fewer red wines than white: fewer are told as surely.
        sets="per_class",
    ),
    example=MEASURED | {"quality": 6},
    example_target="red",
    source_columns=SOURCE_COLUMNS,
    grouped_by=("quality",),
)

WINE_QUALITY = ModelSpec(
    name="wine_quality",
    title="Grade of a wine, as a number",
    description="The grade that a tasting panel would give a vinho verde, as a real number.",
    row=Wine,
    target=quantity(
        "median of at least three blind tastings, 0 very bad to 10 excellent",
        unit="grade",
        low=0,
        high=10,
        source="quality",
    ).named("quality"),
    task=Regression(GRADES),
    example=MEASURED | {"type": "red"},
    example_target=6,
    source_columns=SOURCE_COLUMNS,
    grouped_by=("type",),
)

WINE_GRADE = ModelSpec(
    name="wine_grade",
    title="Grade of a wine, as a class",
    description="A probability for each grade from 3 to 9 that a tasting panel could give a vinho verde.",
    row=Wine,
    target=count(
        "median of at least three blind tastings; 3 to 9 are the grades that occur in the table",
        unit="grade",
        low=GRADES[0],
        high=GRADES[-1],
        source="quality",
    ).named("grade"),
    task=Multiclass(GRADES),
    example=MEASURED | {"type": "red"},
    example_target=6,
    source_columns=SOURCE_COLUMNS,
    grouped_by=("type",),
)
