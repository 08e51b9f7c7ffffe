"""The bar that a person watches while fits run: in one training, and in a study of several hundred.

Knows rich; knows nothing of what is fitted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from training.descent import Watch

# Called after each step of a study with what has been done, such as "survival, svm_rbf, fold 3".
Done = Callable[[str], None]


@contextmanager
def progress(title: str, fits: int) -> Iterator[Watch]:
    """Show how many of `fits` fits are done, and the epoch of the present one; yield what to call.

    A new fit is recognised by its first epoch.
    """
    with _bar(TextColumn("{task.fields[state]}"), TimeElapsedColumn()) as bar:
        task = bar.add_task(title, total=fits, state="")
        begun = 0

        def watch(epoch: int) -> None:
            nonlocal begun
            begun += epoch == 1
            bar.update(task, completed=begun - 1, state=f"fit {begun} of {fits}, epoch {epoch}")

        yield watch
        bar.update(task, completed=fits, state=f"{fits} fits done")


@contextmanager
def steps(title: str, total: int) -> Iterator[Done]:
    """Show how many of `total` steps are done, the time since the start and the time left; yield `done`.

    Count only what has still to be done: steps that an earlier run left on the disk take no time, and the
    time left would be estimated from them.
    """
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with _bar(*columns, TextColumn("{task.fields[state]}")) as bar:
        task = bar.add_task(title, total=total, state="")
        yield lambda description: bar.update(task, advance=1, state=description)


def _bar(*columns: ProgressColumn) -> Progress:
    # On stderr: what a script prints can be redirected while it is watched.
    return Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=Console(stderr=True))
