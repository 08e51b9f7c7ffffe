"""Studies: models fitted on the folds of a protocol, cell by cell, each cell kept on the disk.

A cell is one model, fitted to the training rows of one fold, with its answers to the rows held out. What
is there is not computed again, so a study that was interrupted goes on where it stopped. Knows tables,
recipes and the classical models; knows nothing of metrics or cards.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from service.models import MODELS
from service.spec import ModelSpec
from service.tasks import Outputs
from training import lecture
from training.calibration import critical_values
from training.classical import CLASSICAL, STRENGTHS
from training.fit import fit
from training.folds import Indices, folds
from training.labels import labels, named
from training.learners import encoded_kernel
from training.recipe import Recipe
from training.recipes import RECIPES, REMEMBERING
from training.table import Table, read, sha256_of

ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
Arrays = dict[str, NDArray[Any]]
SPLIT = (4547, 585, 1365)  # training, validation, test rows of the public benchmark's split


# The rows held out, the outputs for them, and the critical values by coverage, if the candidate has any.
Answered = tuple[Indices, Outputs, Mapping[str, list[float]]]


@dataclass(frozen=True)
class Protocol:
    """How rows are parted: by name, how often, and from which seed on; each repeat takes the next seed.

    `grouped`: five folds, stratified, equal rows together. `red` and `white`: five random folds of the wines
    of that colour, as Cortez et al. (2009) drew them. `benchmark`: one random split of the sizes SPLIT, whose
    validation rows nobody needs here. `table`: the rows are their own test, as in a truth table.
    """

    name: str
    repeats: int
    seed: int

    def splits(self, table: Table, repeat: int) -> Iterator[tuple[Indices, Indices]]:
        """Yield the (training, test) row indices of a repeat, counted from 0."""
        seed, rows = self.seed + repeat, np.arange(len(table))
        match self.name:
            case "grouped":
                yield from folds(table, 5, seed)
            case "benchmark":
                shuffled = np.random.default_rng(seed).permutation(rows)
                yield shuffled[: SPLIT[0]], shuffled[SPLIT[0] + SPLIT[1] :]
            case "table":
                yield rows, rows
            case colour:
                chosen = rows[table.matrix[:, -1] == (colour == "red")]
                for training, test in KFold(5, shuffle=True, random_state=seed).split(chosen):
                    yield chosen[training], chosen[test]


@dataclass(frozen=True)
class Cell:
    """One fit of a study. `candidate` is `model`, `lecture`, `kernel` or one of CLASSICAL's names."""

    model: str
    candidate: str
    protocol: Protocol
    repeat: int
    fold: int

    def __str__(self) -> str:
        """Name the cell to a person who watches."""
        return f"{self.model}, {self.candidate}, {self.protocol.name} {self.repeat + 1}.{self.fold + 1}"

    def path(self, runs: Path) -> Path:
        """Where the cell is kept: cells that would compute the same are the same file."""
        spec, seed = MODELS[self.model], self.protocol.seed + self.repeat
        facts: list[object] = [sha256_of(spec), self.protocol.name, self.candidate]
        match self.candidate:
            case "model":  # The same for a grade as a number and as a class: one distribution.
                facts += [RECIPES[self.model], labels(spec).tolist(), [one.name for one in spec.features]]
            case "kernel":
                facts += [REMEMBERING, labels(spec).tolist()]
            case "trivial" | "lecture":
                facts += [self.model]
            case name:
                facts += [self.model, *RECIPES[self.model].numbers]
                facts += [STRENGTHS] if name == "linear" else []
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
        return runs / f"{self.candidate}-{self.protocol.name}-{digest}" / f"{seed}-{self.fold}.npz"


@cache
def whole(model: str) -> Table:
    """Return the model's table, read and checked once: a study names hundreds of cells of it."""
    return read(MODELS[model])


def cells(model: str, candidates: Sequence[str], protocol: Protocol) -> list[Cell]:
    """Return every fit of these candidates under the protocol."""
    table = whole(model)
    counts = [len(list(protocol.splits(table, repeat))) for repeat in range(protocol.repeats)]
    return [
        Cell(model, candidate, protocol, repeat, fold)
        for candidate in candidates
        for repeat, count in enumerate(counts)
        for fold in range(count)
    ]


def compute(wanted: Sequence[Cell], runs: Path, processes: int, done: Callable[[str], None]) -> None:
    """Compute the cells that are not on the disk yet, in `processes` processes of one thread each."""
    # Spawned, not forked: TensorFlow does not survive a fork. The libraries read this when they are loaded.
    os.environ |= ONE_THREAD
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_keep, cell, runs): cell for cell in missing(wanted, runs)}
        for future in as_completed(running):
            future.result()
            done(str(running[future]))


def missing(wanted: Sequence[Cell], runs: Path) -> list[Cell]:
    """Return the cells that are not on the disk, one for each file."""
    absent = {cell.path(runs): cell for cell in wanted if not cell.path(runs).exists()}
    return list(absent.values())


def answers(model: str, candidate: str, protocol: Protocol, runs: Path) -> list[Answered]:
    """Return what each cell answers, repeat by repeat."""
    spec, table = MODELS[model], whole(model)
    found: list[Answered] = []
    for repeat in range(protocol.repeats):
        for fold, (_, test) in enumerate(protocol.splits(table, repeat)):
            with np.load(Cell(model, candidate, protocol, repeat, fold).path(runs)) as kept:
                found.append((test, *_outputs(spec, dict(kept))))
    return found


def _outputs(spec: ModelSpec, kept: Arrays) -> tuple[Outputs, dict[str, list[float]]]:
    if "shares" not in kept:
        return kept, {}
    outputs = named(spec, kept["shares"])
    if not len(kept.get("unseen", ())):
        return outputs, {}
    unseen = named(spec, kept["unseen"])
    return outputs, critical_values(spec.task, spec.target, unseen, kept["truth"])


def _keep(cell: Cell, runs: Path) -> None:
    """Compute a cell and write it at once: half a file must never look like a whole one."""
    path = cell.path(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **_computed(cell))
    partial.rename(path)


def _computed(cell: Cell) -> Arrays:
    spec, seed = MODELS[cell.model], cell.protocol.seed + cell.repeat
    # The lecture's net sees the survival table as the lecture has it: other columns, the same rows.
    table = lecture.table_of(spec) if cell.candidate == "lecture" else whole(cell.model)
    splits = list(cell.protocol.splits(whole(cell.model), cell.repeat))
    training, test = (rows.astype(np.int64) for rows in splits[cell.fold])
    fitted, asked = table.take(training), table.matrix[test]
    match cell.candidate:
        case "model":
            return _of_model(spec, RECIPES[cell.model], fitted, asked, seed)
        case "kernel":
            return {"shares": encoded_kernel(spec, REMEMBERING, fitted)(asked)}
        case "lecture":
            return dict(lecture.fit_predict(spec, seed)(fitted, asked))
        case name:
            return dict(CLASSICAL[name](spec, seed)(fitted, asked))


def _of_model(spec: ModelSpec, recipe: Recipe, table: Table, asked: NDArray[np.float32], seed: int) -> Arrays:
    result = fit(spec, recipe, table, seed)
    shares = result.network.shares(asked)
    return {"shares": shares, "unseen": result.choices.unseen, "truth": result.choices.table.targets}
