"""Requests that are small to send and large to read: how soon, and how cheaply, each is refused.

    python -m benchmarks.nasty --port 8000 --pid 1234

A minute, most of it with a client that never ends its body. Knows HTTP/1.1 and Linux's /proc.
"""

import argparse
import json
import os
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from service.settings import Settings

GIGABYTE = 10**9
CHUNK = 2**16
# No answer within so many seconds is none.
PATIENCE_S = 45
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")


@dataclass(frozen=True)
class Attack:
    """What is sent: pieces with a pause after each; and what its refusal may take."""

    head: bytes
    pieces: Callable[[], Iterator[bytes]]
    statuses: Sequence[int]
    pause_s: float = 0
    most_s: float = 1
    most_mb: float = 50


def attacks(path: str, settings: Settings) -> dict[str, Attack]:
    """All of them, against a route that reads JSON."""
    nests = {
        "brackets": b"[" * 250_000,
        "brackets_in_place": b'{"instances": ' + b"[" * 250_000 + b"]" * 250_000 + b"}",
        "braces": b'{"instances":' * 250_000,
    }
    return {
        **{name: Attack(head(path, len(body)), _once(body), [400, 422]) for name, body in nests.items()},
        # Twice themselves, while their pieces are joined.
        **{
            name: Attack(head(path, len(body)), _once(body), [413], most_mb=100)
            for name, body in _objects().items()
        },
        "gzip_bomb": _bomb(path),
        "announced_gigabyte": Attack(head(path, GIGABYTE), lambda: repeat(b" "), [413], pause_s=0.1),
        # What was not announced is read as far as a body may go.
        "unannounced_gigabyte": Attack(
            _chunked(path), lambda: repeat(_chunk(b" " * CHUNK), GIGABYTE // CHUNK), [413]
        ),
        # A client may be slow, but not for ever.
        "unannounced_trickle": Attack(
            _chunked(path), lambda: repeat(_chunk(b" ")), [408], pause_s=0.1,
            most_s=1 + settings.body_timeout_s,
        ),
        "10000_headers": Attack(
            head(path, 2, [f"X-{number}: {number}" for number in range(10_000)]), _once(b"{}"), [431]
        ),
    }  # fmt: skip


def measure(port: int, pid: int, path: str, settings: Settings) -> dict[str, object]:
    """Send each; what took too long or too much memory, or was not refused, stands under `failures`."""
    found: dict[str, object] = {}
    failures: list[str] = []
    for name, attack in attacks(path, settings).items():
        before = memory_mb(pid, "VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        answer, seconds = sent(port, attack)
        grown = memory_mb(pid, "VmHWM") - before
        print(f"{name:22} {answer}  {seconds * 1e3:8,.0f} ms  {grown:6.1f} MB", flush=True)
        found[name] = {"status": answer, "seconds": round(seconds, 3), "grown_mb": round(grown, 1)}
        if answer not in attack.statuses or seconds > attack.most_s or grown > attack.most_mb:
            failures.append(
                f"{name}: {found[name]}, allowed {attack.statuses}, {attack.most_s} s, {attack.most_mb} MB"
            )
    return {**found, "failures": failures}


def sent(port: int, attack: Attack) -> tuple[int | None, float]:
    """The status of the answer and the seconds until it came, from the first byte of the head on."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began = time.perf_counter()
        connection.settimeout(PATIENCE_S)
        try:
            for piece in chain([attack.head], attack.pieces()):
                connection.sendall(piece)
                if _readable(connection, attack.pause_s):
                    break
                if time.perf_counter() - began > PATIENCE_S:
                    return None, PATIENCE_S
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused while it was sent; the answer is there, or it is lost
        return status(connection), time.perf_counter() - began


def _readable(connection: socket.socket, within_s: float) -> bool:
    connection.settimeout(within_s)
    try:
        return len(connection.recv(1, socket.MSG_PEEK)) >= 0
    except (TimeoutError, BlockingIOError):
        return False
    finally:
        connection.settimeout(PATIENCE_S)


def status(connection: socket.socket) -> int | None:
    """The status of the next answer, None if there is none."""
    answer = b""
    try:
        while not (found := STATUS.match(answer)):
            part = connection.recv(CHUNK)
            if not part:
                return None
            answer += part
        return int(found[1])
    except (TimeoutError, ConnectionResetError):
        return None


def head(path: str, size: int, headers: Sequence[str] = ()) -> bytes:
    """The head of a request with a JSON body of this size."""
    return _lines([f"POST {path} HTTP/1.1", f"Content-Length: {size}", *headers])


def _chunked(path: str) -> bytes:
    return _lines([f"POST {path} HTTP/1.1", "Transfer-Encoding: chunked"])


def _lines(lines: Sequence[str]) -> bytes:
    request, *headers = lines
    return "\r\n".join(
        [request, "Host: service", "Content-Type: application/json", *headers, "", ""]
    ).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _once(body: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([body])


def _objects() -> dict[str, bytes]:
    """Bodies of 40 MB that would be objects of twenty times that, in rows or in one row."""
    count = 40 * 10**6 // 3
    return {
        "objects": b'{"instances": [' + b"{}," * count + b"{}]}",
        "objects_in_a_row": b'{"instances": [{"x1": [' + b"{}," * count + b"{}]}]}",
    }


def _bomb(path: str) -> Attack:
    squeezer = zlib.compressobj(9, wbits=31)
    zeros = bytes(10**6)
    body = b"".join(squeezer.compress(zeros) for _ in range(GIGABYTE // len(zeros))) + squeezer.flush()
    return Attack(head(path, len(body), ["Content-Encoding: gzip"]), _once(body), [413])


def memory_mb(pid: int, what: str) -> float:
    """A figure of a process's memory, by Linux's name."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024 / 1e6


def target(document: str | None) -> argparse.Namespace:
    """Which service is attacked, of the command whose docstring this is: `port`, `pid` and `path`."""
    parser = argparse.ArgumentParser(
        description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, required=True, help="of the service")
    parser.add_argument("--path", default="/models/and_gate/predict")
    return parser.parse_args()


def main() -> None:
    """Attack a service that runs, print."""
    arguments = target(__doc__)
    os.environ.setdefault("PORT", str(arguments.port))
    print(json.dumps(measure(arguments.port, arguments.pid, arguments.path, Settings()), indent=2))


if __name__ == "__main__":
    main()
