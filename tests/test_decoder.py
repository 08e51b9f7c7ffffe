"""What plainly fits a declaration is decoded in one pass: the same numbers, and no word about the rest."""

import json
import random
import struct
from typing import Annotated, Any

import pytest

from service.decoder import Decoder, Doubt, values_of
from service.features import Row, category, count, flag, quantity

LARGEST = 1e308


class Sample(Row):
    depth: Annotated[float, quantity("depth", unit="m", low=-LARGEST, high=LARGEST, source="depth")]
    layers: Annotated[int, count("layers", low=0, high=12, source="layers")]
    soil: Annotated[str, category("soil", levels={"clay": 1, "sand": 2}, source="soil")]
    wet: Annotated[bool, flag("wet", source="wet")]


FITTING: dict[str, Any] = {"depth": 0.5, "layers": 3, "soil": "sand", "wet": True}
DECODER = Decoder(Sample)


def decoded(changes: dict[str, Any]) -> tuple[Any, ...]:
    """The values of one row."""
    return values_of(DECODER.rows(json.dumps([FITTING | changes]).encode())[0])


def test_values_come_in_declared_order() -> None:
    text = json.dumps([dict(reversed(FITTING.items()))]).encode()

    assert values_of(DECODER.rows(text)[0]) == (0.5, 3, "sand", True)


def test_a_number_is_the_double_that_it_is_nearest_to() -> None:
    """Of any doubles, of decimals as people write them, and of longer texts than a double needs."""
    generator = random.Random(1)
    doubles = [struct.unpack("d", generator.randbytes(8))[0] for _ in range(20_000)]
    doubles += [round(generator.uniform(0, 1000), generator.randint(0, 6)) for _ in range(20_000)]
    doubles = [value for value in doubles if abs(value) <= LARGEST]
    texts = [repr(value) for value in doubles] + [f"{value:.25g}" for value in doubles]
    rows = ",".join(f'{{"depth":{text},"layers":1,"soil":"clay","wet":false}}' for text in texts)

    found = [values_of(row)[0] for row in DECODER.rows(f"[{rows}]".encode())]

    assert struct.pack(f"{len(texts)}d", *found) == struct.pack(f"{len(texts)}d", *map(float, texts))


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": True}, {"depth": "0.5"}, {"depth": None}, {"depth": 1.1e308}, {"depth": 10**400},
        {"depth": float("nan")}, {"depth": float("inf")}, {"depth": [0.5]},
        {"layers": 3.5}, {"layers": -1}, {"layers": 13}, {"layers": False},
        {"soil": "peat"}, {"soil": 1}, {"soil": "Sand"}, {"soil": ["sand"]},
        {"wet": 1}, {"wet": "true"}, {"wet": 0.0}, {"horse": 1},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_doubted_without_a_word_of_it(changes: dict[str, Any]) -> None:
    with pytest.raises(Doubt) as raised:
        decoded(changes)

    assert not raised.value.args
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("name", FITTING)
def test_a_field_that_is_missing_is_doubted(name: str) -> None:
    row = {other: value for other, value in FITTING.items() if other != name}

    with pytest.raises(Doubt):
        DECODER.rows(json.dumps([row]).encode())


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"null", b"[null]", b"[[]]", b"[{}]", b'[{"depth":', b"[" * 100_000, b'"\xff"'],
)
def test_what_is_no_list_of_rows_is_doubted(text: bytes) -> None:
    with pytest.raises(Doubt):
        DECODER.rows(text)


@pytest.mark.parametrize(("value", "read"), [(3.0, 3), (12, 12), (0, 0), (-0.0, 0)])
def test_a_whole_number_may_be_written_with_a_point(value: float, read: int) -> None:
    assert decoded({"layers": value})[1] == read


def test_options_are_handed_on_as_they_stand() -> None:
    options = b'{ "coverage" : 0.8 }'

    rows, found = DECODER.request(
        b'{"parameters": %b, "instances": [%b]}' % (options, json.dumps(FITTING).encode())
    )

    assert len(rows) == 1
    assert found == options


@pytest.mark.parametrize("body", [{}, {"instances": []}, {"instances": [FITTING], "horse": 1}, [FITTING]])
def test_another_envelope_is_doubted(body: Any) -> None:
    with pytest.raises(Doubt):
        DECODER.request(json.dumps(body).encode())
