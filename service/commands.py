"""What an operator does to the artifacts from the shell: prove them, and move labels.

    python -m service check
    python -m service promote survival 3
    python -m service rollback survival

Nothing here speaks to a running service: it looks at the folder by itself.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from service import labels
from service.errors import ArtifactRejected
from service.labels import STABLE
from service.models import MODELS
from service.registry import Load, version_folders

COMMANDS = ("check", "promote", "rollback")


def run(arguments: Sequence[str], load: Load | None = None) -> int:
    """Do what the arguments say; return the exit code: 0, or 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="prove every version as the service does, before it is served")
    promote = commands.add_parser("promote", help="let a label point at a version that has been proven")
    rollback = commands.add_parser("rollback", help="let a label point at the version before")
    for command in (check, promote, rollback):
        command.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="as for the service")
    for command in (promote, rollback):
        command.add_argument("model", choices=MODELS)
    promote.add_argument("version", type=int)
    for command in (promote, rollback):
        command.add_argument("--label", default=STABLE, type=_label, help=f"by default {STABLE}")
    asked = parser.parse_args(arguments)
    do: dict[str, Callable[[argparse.Namespace, Load], int]] = {
        "check": _check, "promote": _promote, "rollback": _rollback,
    }  # fmt: skip
    try:
        return do[asked.command](asked, load or _tensorflow())
    except ArtifactRejected as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _tensorflow() -> Load:
    """What loads and proves a version; TensorFlow is imported only when it is needed."""
    from service.servable import SavedModelServable, choose_device

    print(f"device: {choose_device('auto')}")
    return SavedModelServable


def _check(asked: argparse.Namespace, load: Load) -> int:
    """Say of every version of every model whether it may be served."""
    wrong = 0
    for name, spec in MODELS.items():
        home = asked.artifacts / name
        folders = version_folders(home)
        for version in sorted(folders):
            try:
                load(folders[version], spec)
                print(f"{name} {version}: proven")
            except Exception as error:
                wrong += 1
                print(f"{name} {version}: rejected: {error}")
        if not folders:
            wrong += 1
            print(f"{name}: there is no version of it in {home}")
        for label, version in labels.read(home).items():
            there = version in folders
            wrong += not there
            print(f"{name} {label} -> {version}" + ("" if there else ": there is no such version"))
    return 1 if wrong else 0


def _promote(asked: argparse.Namespace, load: Load) -> int:
    """Move a label to a version, if that one proves itself on this machine."""
    home = asked.artifacts / asked.model
    folder = version_folders(home).get(asked.version)
    if folder is None:
        raise ArtifactRejected(
            f"there is no version {asked.version} in {home}; see `python -m service check`"
        )
    load(folder, MODELS[asked.model])
    return _point(home, asked.label, asked.version)


def _rollback(asked: argparse.Namespace, load: Load) -> int:
    """Move a label to the newest older version that proves itself; without the label, from the newest."""
    home = asked.artifacts / asked.model
    folders = version_folders(home)
    now = labels.read(home).get(asked.label) or max(folders, default=0)
    for version in sorted((one for one in folders if one < now), reverse=True):
        try:
            load(folders[version], MODELS[asked.model])
        except ArtifactRejected as error:
            print(f"{asked.model} {version}: rejected: {error}")
            continue
        return _point(home, asked.label, version)
    raise ArtifactRejected(f"there is no older version than {now} in {home} that may be served")


def _point(home: Path, label: str, version: int) -> int:
    before = labels.read(home)
    labels.write(home, {**before, label: version})
    print(f"{home.name} {label}: {before.get(label, 'nothing')} -> {version}")
    return 0


def _label(text: str) -> str:
    if not labels.is_name(text):
        raise argparse.ArgumentTypeError("a label is a word of small letters, digits, - and _")
    return text
