"""What an operator does from the shell: prove artifacts, move labels, make and end keys.

    python -m service check
    python -m service promote survival 3
    python -m service rollback survival
    python -m service key new laboratory --scope predict
    python -m service key list
    python -m service key revoke laboratory --created 2026-11-25T12:00:00Z

ARTIFACTS, DEVICE and TRUSTED_DIGESTS, in the environment or .env, hold for them as for the service, and
MODELS for check: it proves what is served.
Nothing here speaks to a running service: it looks at the files by itself.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from service import keys, labels
from service.errors import ArtifactRejected, DeviceUnavailable, Misconfigured
from service.files import changing
from service.labels import STABLE
from service.models import MODELS
from service.registry import Load, Servable, named_as_versions, version_folders
from service.settings import Settings
from service.spec import ModelSpec

COMMANDS = ("check", "promote", "rollback", "key")


def run(arguments: Sequence[str], settings: Settings, load: Load | None = None) -> int:
    """Do what the arguments say; return the exit code: 0, or 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="prove every version as the service does, before it is served")
    promote = commands.add_parser("promote", help="let a label point at a version that has been proven")
    rollback = commands.add_parser("rollback", help="let a label point at the version before")
    for command in (check, promote, rollback):
        command.add_argument(
            "--artifacts", type=Path, default=settings.artifacts, help="by default ARTIFACTS"
        )
    for command in (promote, rollback):
        command.add_argument("model", choices=MODELS)
    promote.add_argument("version", type=int)
    for command in (promote, rollback):
        command.add_argument("--label", default=STABLE, type=_label, help=f"by default {STABLE}")
    _add_key_commands(commands.add_parser("key", help="make, list and revoke the keys of callers"))
    asked = parser.parse_args(arguments)
    if asked.command == "key":
        return _key(asked, settings)
    do: dict[str, Callable[[argparse.Namespace, Load], int]] = {
        "check": partial(_check, models=settings.served), "promote": _promote, "rollback": _rollback,
    }  # fmt: skip
    try:
        return do[asked.command](asked, load or _tensorflow(settings))
    except (ArtifactRejected, DeviceUnavailable, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _tensorflow(settings: Settings) -> Load:
    """What loads and proves a version; TensorFlow is imported only when it is needed."""
    from service.servable import SavedModelServable, choose_device

    print(f"device: {choose_device(settings.device)}")
    return partial(SavedModelServable, trusted=settings.trusted)


def _check(asked: argparse.Namespace, load: Load, models: Mapping[str, ModelSpec]) -> int:
    """Say of every version of the models that are served whether it may be."""
    wrong = 0
    for name, spec in models.items():
        home = asked.artifacts / name
        folders = named_as_versions(home)
        for version in sorted(folders):
            try:
                servable = _proven(load, folders[version], spec)
                print(f"{name} {version}: proven, its digest is {servable.digest}")
            except ArtifactRejected as error:
                wrong += 1
                print(f"{name} {version}: rejected: {error}")
        if not folders:
            wrong += 1
            print(f"{name}: there is no version of it in {home}")
        try:
            pointing = labels.read(home)
        except ArtifactRejected as error:
            wrong += 1
            print(f"{name}: rejected: {error}")
            continue
        for label, version in pointing.items():
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
    _proven(load, folder, MODELS[asked.model])
    return _point(home, asked.label, asked.version)


def _rollback(asked: argparse.Namespace, load: Load) -> int:
    """Move a label to the newest older version that proves itself; without the label, from the newest."""
    home = asked.artifacts / asked.model
    folders = version_folders(home)
    now = labels.read(home).get(asked.label) or max(folders, default=0)
    for version in sorted((one for one in folders if one < now), reverse=True):
        try:
            _proven(load, folders[version], MODELS[asked.model])
        except ArtifactRejected as error:
            print(f"{asked.model} {version}: rejected: {error}")
            continue
        return _point(home, asked.label, version)
    raise ArtifactRejected(f"there is no older version than {now} in {home} that may be served")


def _proven(load: Load, folder: Path, spec: ModelSpec) -> Servable:
    """The version in a folder. Raises ArtifactRejected for whatever the service rejects it for."""
    try:
        return load(folder, spec)
    except ArtifactRejected:
        raise
    except Exception as error:
        raise ArtifactRejected(f"it could not be loaded ({type(error).__name__}: {error})") from error


def _point(home: Path, label: str, version: int) -> int:
    with changing(home):
        try:
            before = labels.read(home)
        except ArtifactRejected:
            before = {}
            print(
                f"{labels.FILE} of {home.name} could not be read and is written anew: other labels of it are"
                " gone"
            )
        labels.write(home, {**before, label: version})
    print(f"{home.name} {label}: {before.get(label, 'nothing')} -> {version}")
    return 0


def _label(text: str) -> str:
    if not labels.is_name(text):
        raise argparse.ArgumentTypeError("a label is a word of small letters, digits, - and _")
    return text


def _add_key_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="does", required=True)
    new = commands.add_parser("new", help="print a new key, once, and add its hash to the file")
    listing = commands.add_parser("list", help="show the entries of the file")
    revoke = commands.add_parser("revoke", help="end the keys of a name, or the one made at --created")
    for command in (new, revoke):
        command.add_argument("name", type=_key_name)
    new.add_argument(
        "--scope", action="append", choices=keys.SCOPES, help="may be repeated; by default predict, evaluate"
    )
    revoke.add_argument("--created", type=datetime.fromisoformat, help="as `key list` shows it")
    for command in (new, listing, revoke):
        command.add_argument("--file", type=Path, help="by default API_KEYS_FILE")


def _key(asked: argparse.Namespace, settings: Settings) -> int:
    """Do what is asked of the file of keys; a key is new in a file that is not there yet."""
    file = asked.file or settings.api_keys_file
    if file is None:
        print("error: name the file of keys, with --file or as API_KEYS_FILE", file=sys.stderr)
        return 2
    try:
        if asked.does == "list":
            return _list_keys(file)
        with changing(file.resolve().parent):
            return _new_key(asked, file) if asked.does == "new" else _revoke_key(asked, file)
    except (Misconfigured, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _list_keys(file: Path) -> int:
    for entry in keys.read(file):
        print(f"{entry.name} {entry.created.isoformat()} {' '.join(entry.scopes)}")
    return 0


def _new_key(asked: argparse.Namespace, file: Path) -> int:
    key, entry = keys.new(asked.name, asked.scope or ("predict", "evaluate"))
    keys.write(file, [*(keys.read(file) if file.exists() else []), entry])
    print(key)
    return 0


def _revoke_key(asked: argparse.Namespace, file: Path) -> int:
    entries = keys.read(file)
    kept = [
        entry
        for entry in entries
        if entry.name != asked.name or (asked.created and entry.created != asked.created)
    ]
    if len(kept) == len(entries):
        raise Misconfigured("the file has no such entry; see `python -m service key list`")
    keys.write(file, kept)
    print(f"{asked.name}: {len(entries) - len(kept)} revoked")
    return 0


def _key_name(text: str) -> str:
    if not re.fullmatch(keys.NAME, text):
        raise argparse.ArgumentTypeError("a name is 1 to 64 letters, digits, `.`, `_` and `-`")
    return text
