"""Keys for the tests: a file of them, and what a client sends."""

from pathlib import Path

from service import keys


class Keyring:
    """A file with a key for each scope, and one with none."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._keys: dict[str, str] = {}
        self.entries = [self._new(scope) for scope in keys.SCOPES] + [self._new("reader")]
        keys.write(file, self.entries)

    def _new(self, name: str) -> keys.Entry:
        self._keys[name], entry = keys.new(name, [scope for scope in keys.SCOPES if scope == name])
        return entry

    def bearer(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self._keys[name]}"}

    def key(self, name: str) -> str:
        return self._keys[name]
