"""What a person expects of the answers, whatever the weights: the committed artifacts, over HTTP."""

import httpx
import pytest

from rows import changed, document
from servers import client_of
from service.app import create_app
from service.conformal import COVERAGES
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings


@pytest.fixture
async def served(loaded: Registry) -> object:
    async with client_of(create_app(Settings(), loaded)) as client:
        yield client


@pytest.mark.anyio
class TestBehaviour:
    """What a person expects of the answers, whatever the weights."""

    async def risk(self, served: httpx.AsyncClient, **values: object) -> float:
        body = {"instances": [changed(MODELS["survival"], **values)]}
        answer = (await served.post("/models/survival/predict", json=body)).json()
        return float(answer["predictions"][0]["probability_of_death_within_one_year"])

    async def test_a_bigger_tumour_does_not_lower_the_risk(self, served: httpx.AsyncClient) -> None:
        """OC11 to OC14: death rates in the table rise from 10 to 41 per cent."""
        risks = [await self.risk(served, tumour_size=f"OC{size}") for size in range(11, 15)]

        assert risks == sorted(risks)
        assert risks[0] < risks[-1]

    async def test_dyspnoea_does_not_lower_the_risk(self, served: httpx.AsyncClient) -> None:
        """29 per cent of those short of breath died, 14 of the others."""
        assert await self.risk(served, dyspnoea=True) >= await self.risk(served, dyspnoea=False)

    async def test_risks_stay_near_what_the_table_can_tell(self, served: httpx.AsyncClient) -> None:
        """With 70 deaths in 470 patients no ordinary patient's risk is near 0 or 1."""
        assert 0.01 < await self.risk(served) < 0.7

    async def test_the_order_of_fields_changes_nothing(self, served: httpx.AsyncClient) -> None:
        """A JSON object has no order."""
        row = dict(MODELS["survival"].example)
        backwards = dict(reversed(row.items()))
        assert list(row) != list(backwards)

        answers = [
            (await served.post("/models/survival/predict", json={"instances": [one]})).json()["predictions"]
            for one in (row, backwards)
        ]

        assert answers[0] == answers[1]

    @pytest.mark.parametrize(("x1", "x2"), [(0, 0), (0, 1), (1, 0), (1, 1)])
    async def test_the_gate_is_an_and(self, served: httpx.AsyncClient, x1: int, x2: int) -> None:
        """The lecture's truth table."""
        body = {"instances": [{"x1": x1, "x2": x2}]}
        answer = (await served.post("/models/and_gate/predict", json=body)).json()

        assert answer["predictions"][0]["output"] == (x1 and x2)

    async def test_the_lectures_wines_have_their_colours(self, served: httpx.AsyncClient) -> None:
        """Two red, three white, as the lecture prints them; grades within one of the panel's."""
        table = (
            "8.5,0.47,0.27,1.9,0.058,18,36,0.99518,3.16,0.85,11.1,6,1\n"
            "12.1,0.4,0.52,2,0.092,18,54,1,3.03,0.66,10.2,5,1\n"
            "6.9,0.21,0.33,1.8,0.034,18,136,0.9899,3.25,0.41,12.6,7,0\n"
            "6.7,0.24,0.31,2.3,0.044,18,113,0.99013,3.29,0.46,12.9,6,0\n"
            "6,0.21,0.38,0.8,0.02,22,98,0.98941,3.26,0.32,11.8,6,0\n"
        )
        csv = {"content-type": "text/csv"}
        colour = (await served.post("/models/wine_type/evaluate", content=table, headers=csv)).json()
        grade = (await served.post("/models/wine_quality/evaluate", content=table, headers=csv)).json()

        assert colour["confusion_matrix"] == [[3, 0], [0, 2]]
        assert grade["within_1"] == 1

    async def test_a_row_unlike_the_training_rows_is_marked(self, served: httpx.AsyncClient) -> None:
        """Possible but unseen: answered, and said so. Nobody in the table is 105 or has DGN7."""
        body = {
            "instances": [
                changed(MODELS["survival"], age=105, diagnosis="DGN7"),
                dict(MODELS["survival"].example),
            ]
        }
        answer = (await served.post("/models/survival/predict", json=body)).json()
        outside = [prediction["applicability"]["outside"] for prediction in answer["predictions"]]

        assert outside == [["diagnosis", "age"], []]

    async def test_a_row_unlike_the_training_rows_is_far_from_them(self, served: httpx.AsyncClient) -> None:
        """Each value alone was seen; a wine of all extremes at once is farther out than nearly all."""
        spec = MODELS["wine_quality"]
        odd = changed(spec, residual_sugar=60, alcohol=14, density=0.99, chlorides=0.6, sulphates=2)
        answer = (
            await served.post("/models/wine_quality/predict", json=document(spec, odd, spec.example))
        ).json()
        far, near = (one["applicability"]["distance_percentile"] for one in answer["predictions"])

        assert far > 99
        assert near < far

    async def test_intervals_hold_the_answer_and_grow_with_the_coverage(
        self, served: httpx.AsyncClient
    ) -> None:
        """The lecture's first wine, of grade 6."""
        spec = MODELS["wine_quality"]
        widths = []
        for coverage in COVERAGES:
            body = document(spec, spec.example, coverage=coverage)
            (wine,) = (await served.post("/models/wine_quality/predict", json=body)).json()["predictions"]
            assert wine["interval"]["low"] <= wine["quality"] <= wine["interval"]["high"]
            widths.append(wine["interval"]["high"] - wine["interval"]["low"])

        assert widths == sorted(widths)

    async def test_a_bigger_tumour_is_no_better_on_its_curve(self, served: httpx.AsyncClient) -> None:
        """The what-if of a tumour says in one answer what four predictions say."""
        spec = MODELS["survival"]
        body = document(spec, spec.example, action="what-if", feature="tumour_size")
        (curve,) = (await served.post("/models/survival/what-if", json=body)).json()["curves"]
        risks = [point["probability_of_death_within_one_year"] for point in curve["points"]]

        assert [point["value"] for point in curve["points"]] == ["OC11", "OC12", "OC13", "OC14"]
        assert risks == [
            pytest.approx(await self.risk(served, tumour_size=f"OC{size}"), abs=1e-6)
            for size in range(11, 15)
        ]
