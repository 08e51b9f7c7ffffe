"""Clients that send nearly all of a large body and then nothing: what they hold together.

    python -m benchmarks.stalled --port 8000 --pid 1234

Half a minute, twice: as long as the service waits for a body. Ends with 1 if they hold more than
MAX_HELD_BYTES and what the service takes beside it. Knows HTTP/1.1 and Linux's /proc.
"""

import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from benchmarks.nasty import head, memory_mb, status, target
from service.settings import Settings

CLIENTS = 50
UNSENT = 2**20
# Beside the bodies themselves: what has come and was not taken yet, a megabyte each at most.
MOST_BESIDE_MB = 100
ROUNDS = 2


def measure(port: int, pid: int, path: str, settings: Settings) -> dict[str, object]:
    """Let them stall, again and again; what they hold too much stands under `failures`."""
    size = settings.max_body_bytes
    before = memory_mb(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    rounds = []
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(CLIENTS) as clients:
            found = Counter(clients.map(lambda _: _stalled(port, path, size), range(CLIENTS)))
        rounds.append({"answers": dict(found), "grown_mb": round(memory_mb(pid, "VmHWM") - before, 1)})
    most = settings.max_held_bytes / 1e6 + MOST_BESIDE_MB
    grown = max(memory_mb(pid, "VmHWM") - before, 0)
    failures = [f"they held {grown:.0f} MB, {most:.0f} are allowed"] if grown > most else []
    return {"clients": CLIENTS, "before_mb": round(before, 1), "rounds": rounds, "failures": failures}


def _stalled(port: int, path: str, size: int) -> int | None:
    """The status that a client is answered which sends all but the end."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(60)
        # Who is refused while it sends has its answer there, or has lost it.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head(path, size) + b" " * (size - UNSENT))
        return status(connection)


def main() -> None:
    """Attack a service that runs, print."""
    asked = target(__doc__)
    found = measure(asked.port, asked.pid, asked.path, Settings(_cli_parse_args=[]))
    print(json.dumps(found, indent=1))
    if found["failures"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
