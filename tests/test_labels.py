"""Which version answers where labels point at some, and where nobody can read which."""

from pathlib import Path

import pytest

from folders import arithmetic, publish
from service import labels
from service.errors import NotReady
from service.registry import Registry


def test_the_stable_version_answers_and_the_newest_without_one(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """Moving the label is all that a rollback takes."""
    publish(home, 1, 2, 3)
    for label, answering in ((1, 1), (3, 3), (None, 3), (2, 2)):
        labels.write(home, {"stable": label} if label else {})
        gates.scan(tmp_path, arithmetic)

        assert gates.servable("and_gate").version == answering
        assert gates.served("and_gate").desired == (label or 3)


@pytest.mark.parametrize("wrong", [2, 9])
def test_a_label_stays_where_it_was_until_its_new_version_can_be_served(
    tmp_path: Path, home: Path, gates: Registry, wrong: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged or not there: the newest was never promoted, and must not answer for it."""
    publish(home, 2, 3, 4)
    (home / "2" / "broken").write_text("a flipped byte")
    labels.write(home, {"stable": 3, "canary": 4})
    gates.scan(tmp_path, arithmetic)
    labels.write(home, {"stable": wrong, "canary": wrong})
    gates.scan(tmp_path, arithmetic)
    served = gates.served("and_gate")

    assert gates.servable("and_gate").version == 3
    assert (served.labels, served.desired) == ({"stable": 3, "canary": 4}, wrong)
    assert wrong in gates.rejected["and_gate"]
    assert "and_gate: 3 answers, desired is" in caplog.text or f"version {wrong}" in caplog.text

    (home / "2" / "broken").unlink()
    labels.write(home, {"stable": 2})
    gates.scan(tmp_path, arithmetic)

    assert gates.servable("and_gate").version == 2
    assert gates.rejected == {"and_gate": {}}


def test_a_first_label_of_a_version_that_is_not_there_changes_nothing(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """What answered goes on."""
    publish(home, 1, 2)
    gates.scan(tmp_path, arithmetic)
    labels.write(home, {"stable": 7})
    gates.scan(tmp_path, arithmetic)

    assert gates.servable("and_gate").version == 2
    assert gates.rejected["and_gate"] == {7: "the label `stable` points at it, and there is no such version"}


def test_at_the_start_nothing_answers_for_a_stable_version_that_cannot_be_served(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """Not ready, with the reason, rather than an answer from a version that nobody promoted."""
    publish(home, 1, 2)
    (home / "1" / "broken").write_text("a flipped byte")
    labels.write(home, {"stable": 1})
    gates.scan(tmp_path, arithmetic)

    assert not gates.ready
    assert gates.reasons() == {"and_gate": "version 1: a flipped byte"}
    assert gates.servable("and_gate", 2).version == 2
    with pytest.raises(NotReady):
        gates.servable("and_gate")


def test_a_label_whose_folder_is_gone_is_told_while_its_version_answers(
    tmp_path: Path, home: Path, gates: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """After a restart nothing would answer. Once the folder is back, nothing is wrong."""
    publish(home, 1, 2)
    labels.write(home, {"stable": 1})
    gates.scan(tmp_path, arithmetic)
    (home / "1").rmdir()
    for _ in range(2):
        gates.scan(tmp_path, arithmetic)

    assert gates.servable("and_gate").version == gates.served("and_gate").desired == 1
    assert gates.rejected["and_gate"][1].endswith("no such version; it goes on answering for now")
    assert caplog.text.count("points at version 1, which is not there") == 1

    publish(home, 1)
    gates.scan(tmp_path, arithmetic)

    assert not gates.rejected["and_gate"]


def test_writing_labels_follows_no_link(tmp_path: Path, home: Path) -> None:
    """Whoever may write in the folder of a model does not write elsewhere by the hand of who promotes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    home.mkdir()
    for name in ("labels.json", ".labels.json"):
        (home / name).symlink_to(elsewhere)

    labels.write(home, {"stable": 1})

    assert elsewhere.read_text() == "precious"
    assert labels.read(home) == {"stable": 1}


def test_the_two_newest_versions_and_those_with_a_label_are_served(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """A published version takes the place of the oldest that nobody points at."""
    publish(home, 1, 2, 3, 4)
    labels.write(home, {"stable": 2})

    assert gates.scan(tmp_path, arithmetic)
    assert list(gates.versions("and_gate")) == [4, 3, 2]

    publish(home, 5)

    assert gates.scan(tmp_path, arithmetic)
    assert list(gates.versions("and_gate")) == [5, 4, 2]
    assert not gates.scan(tmp_path, arithmetic), "nothing has changed since"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"stable": "3"}', '{"stable": 0}', '{"../x": 1}', '{"stable": true}']
)
def test_labels_that_cannot_be_read_change_nothing(
    tmp_path: Path, home: Path, gates: Registry, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The labels of before hold, and the log says what to do."""
    publish(home, 1, 2)
    labels.write(home, {"stable": 1})
    gates.scan(tmp_path, arithmetic)
    (home / "labels.json").write_text(text)
    for _ in range(2):
        gates.scan(tmp_path, arithmetic)

    assert gates.servable("and_gate").version == 1
    assert caplog.text.count("python -m service promote and_gate VERSION") == 1
    assert "labels.json" in (gates.served("and_gate").fault or "")


def test_at_the_start_nothing_answers_where_the_labels_cannot_be_read(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """The newest may be what somebody rolled back from. Its number still leads to it; a label mends it."""
    publish(home, 1, 2)
    (home / "labels.json").write_text("{")
    for _ in range(2):
        gates.scan(tmp_path, arithmetic)

        assert not gates.ready
        assert gates.reasons()["and_gate"].startswith("labels.json is not a list of labels")
        assert gates.served("and_gate").desired is None
        assert gates.servable("and_gate", 2).version == 2
    labels.write(home, {"stable": 1})
    gates.scan(tmp_path, arithmetic)

    assert gates.ready
    assert gates.servable("and_gate").version == gates.served("and_gate").desired == 1
    assert gates.served("and_gate").fault is None
