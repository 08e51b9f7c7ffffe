"""What stands beside a SavedModel, and how its disagreements are named."""

from pathlib import Path

import pytest

from mean_servable import manifest_of
from service.errors import ArtifactRejected
from service.manifest import Drawing, Golden, Manifest, differences, digests, verified
from service.models import MODELS
from service.spec import ModelSpec

SURVIVAL = MODELS["survival"]


def test_a_manifest_survives_the_way_to_disk(tmp_path: Path, spec: ModelSpec) -> None:
    """What is read is what was written."""
    manifest = manifest_of(spec)
    manifest.write(tmp_path)

    assert Manifest.read(tmp_path) == manifest


def test_a_manifest_of_the_declaration_has_no_differences(spec: ModelSpec) -> None:
    """The declaration agrees with itself."""
    assert differences(manifest_of(spec), spec) == []


def test_swapped_columns_are_named_one_by_one() -> None:
    """The position, what is there and what was declared."""
    manifest = manifest_of(SURVIVAL)
    first, second, *rest = manifest.features
    swapped = manifest.model_copy(update={"features": [second, first, *rest]})

    assert differences(swapped, SURVIVAL) == [
        "column 1 is `forced_vital_capacity`, the declaration has `diagnosis`",
        "column 2 is `diagnosis`, the declaration has `forced_vital_capacity`",
    ]


def test_a_missing_column_is_named() -> None:
    """An artifact of fewer features does not fit."""
    manifest = manifest_of(SURVIVAL)
    shorter = manifest.model_copy(update={"features": manifest.features[:-1]})

    assert differences(shorter, SURVIVAL) == ["column 16 is absent, the declaration has `age`"]


def test_another_unit_is_named() -> None:
    """Litres are not millilitres, though the name and the type agree."""
    manifest = manifest_of(SURVIVAL)
    column = manifest.features[1].model_copy(update={"unit": "millilitre"})
    other = manifest.model_copy(update={"features": [manifest.features[0], column, *manifest.features[2:]]})

    assert differences(other, SURVIVAL) == [
        "column 2 `forced_vital_capacity`: unit is millilitre, the declaration has litre"
    ]


def test_another_threshold_or_model_is_named() -> None:
    """Training and serving must answer the event from the same probability on."""
    other = manifest_of(SURVIVAL).model_copy(update={"threshold": 0.5, "model": "wine_type"})

    assert differences(other, SURVIVAL) == [
        "model is wine_type, the declaration has survival",
        "threshold is 0.5, the declaration has 0.149",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seen": {}}, "seen is []"),
        ({"prior": [1.0]}, "length of the prior is 1, the declaration has 2"),
        ({"prior": [0.9, 0.2]}, "the prior is not shares that sum to 1"),
        ({"prior": [1.5, -0.5]}, "the prior is not shares that sum to 1"),
        ({"critical": {}}, "number of critical values by coverage is {}, the declaration has {'0.8': 2"),
        ({"critical": {"0.8": [0.3, 0.3], "0.9": [0.2], "0.95": [0.1, 0.1]}}, "'0.9': 1"),
        ({"files": {}}, "saved_model.pb is not among the files"),
        ({"golden": Golden(inputs=[], outputs={})}, "golden rows: expected at least one"),
        ({"golden": Golden(inputs=[[0.0] * 16], outputs={})}, "golden outputs is []"),
        ({"golden": Golden(inputs=[[0.0] * 15], outputs={})}, "each of 16 numbers"),
        ({"golden": Golden(inputs=[[0.0] * 16], outputs={}, tolerance=1)}, "the tolerance is 1"),
    ],
)
def test_a_manifest_that_proves_nothing_is_rejected(change: dict[str, object], said: str) -> None:
    """Every part that an answer or a check is computed from must be there: all([]) is true."""
    hollow = manifest_of(SURVIVAL).model_copy(update=change)

    assert said in "; ".join(differences(hollow, SURVIVAL))


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("survival", {"0.8": [1.2, 0.3]}, "critical values for 0.8 are not from 0 to 1"),
        ("survival", {"0.95": [-0.1, 0.1]}, "critical values for 0.95 are not from 0 to 1"),
        ("survival", {"0.9": [0.31, 0.2]}, "a larger coverage has smaller sets or intervals"),
        ("wine_grade", {"0.95": [0.1] * 6 + [0.21]}, "a larger coverage has smaller sets or intervals"),
        ("wine_quality", {"0.8": [-1.0]}, "critical values for 0.8 are not from 0 to inf"),
        ("wine_quality", {"0.95": [1.5]}, "a larger coverage has smaller sets or intervals"),
    ],
)
def test_impossible_critical_values_are_rejected(name: str, wrong: dict[str, list[float]], said: str) -> None:
    """A set for 95 per cent of the rows holds the one for 80; a probability is one."""
    manifest = manifest_of(MODELS[name])
    other = manifest.model_copy(update={"critical": manifest.critical | wrong})

    assert said in "; ".join(differences(other, MODELS[name]))


def test_critical_values_of_a_model_without_sets_are_rejected() -> None:
    """The gate has no sets: somebody's values would be ignored."""
    gate = MODELS["and_gate"]
    other = manifest_of(gate).model_copy(update={"critical": {"0.9": [0.1, 0.1]}})

    assert differences(other, gate) == [
        "number of critical values by coverage is {'0.9': 2}, the declaration has {}"
    ]


@pytest.mark.parametrize("percentile", [-1.0, 100.5])
def test_a_percentile_that_is_none_is_rejected(spec: ModelSpec, percentile: float) -> None:
    """A distance of the golden rows lies from 0 to 100 per cent."""
    manifest = manifest_of(spec)
    outputs = manifest.golden.outputs | {"distance_percentile": [percentile]}
    golden = manifest.golden.model_copy(update={"outputs": outputs})

    assert differences(manifest.model_copy(update={"golden": golden}), spec) == [
        "golden outputs: `distance_percentile` is not from 0 to 100"
    ]


@pytest.mark.parametrize("file", ["../secret.png", "plots/a.png", "card.md", "a.html", ".png"])
def test_a_drawing_is_a_picture_beside_the_card(file: str) -> None:
    """What a client may ask for is a plain PNG or SVG, and is among the files with a digest."""
    manifest = manifest_of(SURVIVAL)
    drawing = Drawing(file=file, title="", shows="")
    provenance = manifest.provenance.model_copy(update={"drawings": [drawing]})
    other = manifest.model_copy(update={"provenance": provenance})
    listed = other.model_copy(update={"files": other.files | {file: ""}})

    if file != "card.md":
        assert f"{file} is not among the files" in differences(other, SURVIVAL)
    assert differences(listed, SURVIVAL) == [f"drawing {file} is no .png or .svg beside the card"]


def test_levels_that_are_not_declared_are_named() -> None:
    """A code without a level would break the answer of GET /models."""
    manifest = manifest_of(SURVIVAL)
    stray = manifest.seen["diagnosis"].model_copy(update={"levels": [1, 99]})
    other = manifest.model_copy(update={"seen": manifest.seen | {"diagnosis": stray}})

    assert differences(other, SURVIVAL) == [
        "seen: the levels of `diagnosis` are not those of the declaration"
    ]


def test_every_change_of_a_file_is_noticed(tmp_path: Path) -> None:
    """Missing, added and altered files are each named."""
    for name in ("a", "b", "folder/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    listed = digests(tmp_path)
    assert verified(tmp_path, listed) == {"a": b"a", "b": b"b", "folder/c": b"folder/c"}

    (tmp_path / "a").unlink()
    (tmp_path / "d").write_text("d")
    (tmp_path / "folder/c").write_text("C")

    with pytest.raises(ArtifactRejected) as caught:
        verified(tmp_path, listed)
    assert str(caught.value).split("; ") == [
        "a is missing",
        "d is not in the manifest",
        "folder/c was changed after export",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../card.md",
        "/etc/passwd",
        "variables/../card.md",
        r"variables\\variables.index",
        r"card.md\u0000",
        r"card.md\n",
        "./card.md",
        "",
        "saved_model.pbtxt",
        "saved_model.cpb",
        "assets/words.txt",
        "assets.extra/lib.so",
        "variables/variables.data-00001-of-00002",
        "plots/a.png",
    ],
)
def test_a_manifest_lists_only_what_a_version_is_made_of(tmp_path: Path, name: str) -> None:
    """Refused as it is read, by the name: nothing else is ever opened."""
    manifest_of(SURVIVAL).write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"card.md":', f'"{name}":'))

    with pytest.raises(ArtifactRejected, match=r"1 faults, the first in files\."):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", '{"model": "survival"}', "not json", "[" * 100_000])
def test_what_is_no_manifest_is_rejected_with_what_to_do(tmp_path: Path, content: str | None) -> None:
    """The reason says to export again, and is one sentence."""
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(ArtifactRejected, match="export the model again"):
        Manifest.read(tmp_path)


def test_a_manifest_is_not_read_beyond_a_mebibyte(tmp_path: Path) -> None:
    """It may be right as far as it goes."""
    manifest_of(SURVIVAL).write(tmp_path)
    with (tmp_path / "manifest.json").open("a") as file:
        file.write(" " * 2**20)

    with pytest.raises(ArtifactRejected, match=r"manifest\.json has more than 1,048,576 bytes"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ('"tolerance": 0.0001', '"tolerance": NaN', "golden.tolerance"),
        ('"tolerance": 0.0001', '"tolerance": Infinity', "golden.tolerance"),
        ('"tolerance": 0.0001', '"tolerance": 1e999', "golden.tolerance"),
        ('"threshold": 0.149', '"threshold": "0.149 or so"', "threshold"),
        ('"version": 1', '"version": 1.5', "version"),
        ('"version": 1', '"version": 1, "pickle": "model.pkl"', "pickle"),
    ],
)
def test_a_number_that_is_none_and_an_unknown_field_are_named(
    tmp_path: Path, right: str, wrong: str, place: str
) -> None:
    """By their place in the manifest, and without what stands there."""
    manifest_of(SURVIVAL).write(tmp_path)
    path = tmp_path / "manifest.json"
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong))

    with pytest.raises(ArtifactRejected) as caught:
        Manifest.read(tmp_path)
    assert f"(1 faults, the first in {place});" in str(caught.value)
