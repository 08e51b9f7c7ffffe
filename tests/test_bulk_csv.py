"""CSV of many rows is judged by columns where it plainly is a table of the declaration, and else by rows."""

import tracemalloc
from typing import Any

import pytest

from service import table
from service.actions import Action, actions
from service.decoder import Doubt
from service.errors import InvalidRows, RefusedBody
from service.models import MODELS
from test_bulk import AGED, plain, verdict


@pytest.mark.parametrize("words", [("true", "false"), ("True", "TRUE"), ("FALSE", "False")])
@pytest.mark.parametrize("first", [0, 5])
def test_a_column_of_truths_is_no_column_of_numbers(
    words: tuple[str, str], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pandas makes 1 and 0 of them where there is nothing else among the lines that it reads together."""
    monkeypatch.setattr(table, "PIECE", 5)
    action = actions(MODELS["and_gate"])[0]
    lines = ["1,0"] * first + [f"{words[0]},0", f"{words[1]},0"] * 5
    body = "\n".join(["x1,x2", *lines, ""])

    assert not plain(action, body, "csv")
    kind, _, violations = of_csv(action, body, monkeypatch)[0]
    assert kind is InvalidRows
    assert [violation.pointer for violation in violations] == [
        f"#/instances/{line}/x1" for line in range(first, first + 10)
    ]


def test_columns_of_numbers_beside_truths_are_read_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patient has flags; what stands beside them is not asked for, and found: whole, signed, or neither."""
    action = actions(AGED)[0]
    numbers = (2.5, 2, 1, "2.50", "1e0")
    rows = [AGED.example | {"forced_expiratory_volume_1s": value, "smoking": True} for value in numbers]
    lines = [",".join(map(str, row.values())) for row in rows * 3]
    body = "\n".join([",".join(AGED.example), *lines, ""])

    assert plain(action, body, "csv")
    by_columns, by_rows = of_csv(action, body, monkeypatch)
    assert by_columns == by_rows


def of_csv(action: Action, body: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The verdicts on a body of CSV, by columns and by rows."""
    found = []
    for few in (False, True):
        monkeypatch.setattr(table, "small", lambda _, few=few: few)
        found.append(verdict(action, body, "csv"))
    return found


@pytest.mark.parametrize("header", ["x1,,x2", ",x1,x2", '"x1,",x2'])
def test_a_heading_that_is_missing_shifts_no_column(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose the cells below would be is not plain: row by row, they are refused."""
    action = actions(MODELS["and_gate"])[0]
    body = header + "\n" + "1,0\n" * 20
    monkeypatch.setattr(table, "small", lambda _: False)

    assert not plain(action, body, "csv")
    assert isinstance(verdict(action, body, "csv")[0], type)


@pytest.mark.parametrize(
    "first", ["x1,x2", "\ufeffx1,x2", '"x1","x2"', 'x1, "x2" ', "x1,x2\r", "1,0", "\ufeff1,0"]
)
def test_what_spreadsheets_write_first_is_read_by_columns(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks of UTF-8, quotes, carriage returns, or no header at all; and as it is read row by row."""
    action = actions(MODELS["and_gate"])[0]
    end = "\r\n" if first.endswith("\r") else "\n"
    body = first.removesuffix("\r") + end + f"1,0{end}" * 20

    assert plain(action, body, "csv")
    by_columns, by_rows = of_csv(action, body, monkeypatch)
    assert by_columns == by_rows


@pytest.mark.parametrize("commas", [",", ",,,"])
@pytest.mark.parametrize("head", ["x1,x2", "1,1"])
def test_commas_at_the_end_of_all_lines_are_read_by_columns(
    commas: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spreadsheet writes them for columns that were once used; whatever stands there is refused."""
    action = actions(MODELS["and_gate"])[0]
    lines = [head + commas, *[f"1,0{commas}"] * 20, ""]
    empty = "\n".join(lines)
    used = empty.replace(f"0{commas}\n", f"0{commas}7\n", 5).replace(f"0{commas}7\n", f"0{commas}\n", 4)

    assert plain(action, empty, "csv")
    assert not plain(action, used, "csv")
    for body in (empty, used):
        by_columns, by_rows = of_csv(action, body, monkeypatch)
        assert by_columns == by_rows
    assert isinstance(by_rows[0], type)


@pytest.mark.parametrize("first", ['x1,"x2', "x1\rx2", '"x1\n",x2', ",,", "é1,x2", ""])
def test_a_first_line_that_may_be_another_is_doubted(first: str) -> None:
    assert not plain(actions(MODELS["and_gate"])[0], first + "\n" + "1,0\n" * 20, "csv")


@pytest.mark.parametrize("line", [b"12," * 4_000_000, b"a" * 200_000, b"x1,x2," + b"a" * 200_000])
def test_a_first_line_that_is_no_header_is_not_taken_apart(line: bytes) -> None:
    """Of forty megabytes of one line the cells would be a gigabyte, and a cell may be too long for one."""
    action, body = actions(MODELS["and_gate"])[0], line + b"\n" + b"1,1\n" * 600
    tracemalloc.start()
    try:
        with pytest.raises(Doubt):
            table._many(action.judge, body, {})
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert held < 1_000_000
    with pytest.raises(RefusedBody):
        table.read_csv(action.judge, line, {})
