import pytest

from training.progress import progress, steps


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """A terminal of 120 columns, whatever runs the tests."""
    monkeypatch.setenv("COLUMNS", "120")


def test_a_new_fit_is_known_by_its_first_epoch(capsys):
    """Three epochs, then two: a training that breaks off there was in the second of its three fits."""

    def broken():
        with progress("survival", 3) as watch:
            for epoch in (1, 2, 3, 1, 2):
                watch(epoch)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        broken()
    shown = capsys.readouterr()

    assert "survival" in shown.err
    assert "fit 2 of 3, epoch 2" in shown.err
    # One fit is done: the bar of 40 is a third full.
    assert 10 < shown.err.count("━") < 16
    assert not shown.out


def test_the_end_says_that_all_fits_are_done(capsys):
    """A training that was watched to its end leaves a line that says so."""
    with progress("survival", 2) as watch:
        watch(1)

    assert "2 fits done" in capsys.readouterr().err


def test_steps_count_what_is_done_and_say_what_it_was(capsys):
    """Two of five steps: the count, the last description, the elapsed and the remaining time."""
    with steps("report", 5) as done:
        done("survival, linear, fold 1")
        done("survival, svm_rbf, fold 1")

    shown = capsys.readouterr()
    assert "2/5" in shown.err
    assert "survival, svm_rbf, fold 1" in shown.err
    assert shown.err.count(":") >= 4
    assert not shown.out
