"""Requests that no client should send, made of the examples in an OpenAPI document, and of chance.

A marker stands in every place that a caller can write: where it comes back, a value was repeated. Knows
OpenAPI and the bytes of HTTP/1.1; sends nothing.
"""

import json
import random
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

MARKER = "zqmarkerqz"
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", MARKER.upper())
# What a parser, a float or a float32 might stumble over.
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**400, 2**63, 1e308, 1e-300, -0.0, float("nan"), float("inf"), "", "\x00",
    "\ud800", MARKER, f"{MARKER}\n", f"é{MARKER}", f"<{MARKER}>", [], {}, [MARKER], {MARKER: MARKER}, [[[]]],
)  # fmt: skip
CELLS = (
    "",
    " ",
    '"',
    f'"{MARKER}',
    MARKER,
    "nan",
    "inf",
    "1e999",
    "1_000",
    "\x00",
    "\ufeff",
    "=1+1",
    "9" * 400,
)
MEDIA = ("application/json", "text/csv", MARKER, "text/csv; charset=latin-1", "multipart/form-data", "")
CHUNKED = "Transfer-Encoding"


class Request(NamedTuple):
    """A request before it is bytes."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes


class Place(NamedTuple):
    """An operation of the document: what it is, and bodies that it answers, with their media types."""

    path: str
    method: str
    bodies: Sequence[tuple[str, bytes]]


def places(document: Mapping[str, Any]) -> list[Place]:
    """Every operation of an OpenAPI document."""
    return [
        Place(path, method.upper(), _bodies(operation))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def _bodies(operation: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    content = operation.get("requestBody", {}).get("content", {})
    examples = [(media, told["example"]) for media, told in content.items() if "example" in told]
    return [
        (media, (value if isinstance(value, str) else json.dumps(value)).encode())
        for media, value in examples
    ]


def every_verb(all_places: Sequence[Place], values: Mapping[str, Mapping[str, str]]) -> Iterator[Request]:
    """Each path by each verb, with the marker wherever it does no harm to the rest."""
    for place in all_places:
        for verb in VERBS:
            media, body = place.bodies[0] if place.bodies else (MARKER, MARKER.encode())
            query = f"?{MARKER}={MARKER}" if verb != place.method else ""
            headers = [("Content-Type", media), (f"X-{MARKER}", MARKER), ("User-Agent", MARKER)]
            yield Request(verb, filled(place.path, values) + query, headers, body)


def filled(path: str, values: Mapping[str, Mapping[str, str]]) -> str:
    """The path with its parameters filled in, from the values of its model; the marker for unknown ones."""
    known = next((values[part] for part in path.split("/") if part in values), {})
    parts = [known.get(part[1:-1], MARKER) if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


class Mutations:
    """An endless supply of wrong requests, the same for the same seed."""

    def __init__(
        self, all_places: Sequence[Place], values: Mapping[str, Mapping[str, str]], seed: int
    ) -> None:
        """Mutate requests for these places."""
        self._values = values
        self._random = random.Random(seed)
        # Most places have nothing to read: those that have are tried as often as all the others.
        self._reading = [place for place in all_places if place.bodies]
        self._others = [place for place in all_places if not place.bodies] or self._reading

    def request(self) -> Request:
        """A request of valid HTTP, wrong in one to three of its parts."""
        choose = self._random
        place = choose.choice(self._others if choose.random() < 0.2 or not self._reading else self._reading)
        media, body = choose.choice(place.bodies) if place.bodies else ("", b"")
        target = filled(place.path, self._values)
        headers = [("Content-Type", media)] if media else []
        method = place.method
        for _ in range(choose.randint(1, 3)):
            match choose.choices(["body", "query", "path", "header", "media", "method"], [6, 2, 1, 2, 1, 1])[
                0
            ]:
                case "body":
                    body = self._body(media, body)
                case "query":
                    target += ("&" if "?" in target else "?") + self._query()
                case "path":
                    target = self._target(target)
                case "header":
                    headers.append(self._header())
                case "media":
                    headers = [("Content-Type", choose.choice(MEDIA))]
                case "method":
                    method = choose.choice(VERBS)
        return Request(method, target, headers, body)

    def raw(self) -> bytes:
        """Bytes that are almost HTTP, or not at all."""
        choose = self._random
        data = encoded(self.request(), chunked=choose.random() < 0.3)
        match choose.choice(["cut", "double", "flip", "insert", "delete", "lines", "random"]):
            case "cut":
                return data[: choose.randrange(len(data))]
            case "double":
                place = choose.randrange(len(data))
                return data[:place] + data[choose.randrange(place + 1) :]
            case "flip":
                return self._flipped(data)
            case "insert":
                place = choose.randrange(len(data))
                return data[:place] + choose.randbytes(choose.randint(1, 20)) + data[place:]
            case "delete":
                place = choose.randrange(len(data))
                return data[:place] + data[place + choose.randint(1, 20) :]
            case "lines":
                lines = data.split(b"\r\n")
                choose.shuffle(lines)
                return b"\r\n".join(lines)
            case _:
                return choose.randbytes(choose.randint(1, 300)) + b"\r\n\r\n"

    def _flipped(self, data: bytes) -> bytes:
        flipped = bytearray(data)
        for _ in range(self._random.randint(1, 5)):
            flipped[self._random.randrange(len(flipped))] ^= 1 << self._random.randrange(8)
        return bytes(flipped)

    def _body(self, media: str, body: bytes) -> bytes:
        if self._random.random() < 0.1:
            return self._flipped(body) if body else MARKER.encode()
        try:
            return self._json(body) if media == "application/json" else self._table(body)
        except (ValueError, RecursionError):
            return MARKER.encode() + body  # it was mutated before

    def _json(self, body: bytes) -> bytes:
        document = json.loads(body)
        spots = list(_spots(document))
        holder, key = self._random.choice(spots) if spots else ([document], 0)
        strange = self._random.choice(STRANGE)
        match self._random.choice(["replace", "replace", "drop", "add", "repeat"]):
            case "replace":
                holder[key] = strange
            case "drop":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[self._random.choice([MARKER, "", "\ud800", "a/b~c" + MARKER])] = strange
            case _:
                holder[key] = [holder[key]] * self._random.choice([0, 2, 100])
        return json.dumps(document).encode()

    def _table(self, body: bytes) -> bytes:
        separator = self._random.choice([",", ",", ",", ";", "\t"])
        lines = [line.split(",") for line in body.decode("utf-8", "replace").split("\n")]
        line = self._random.choice(lines)
        match self._random.choice(["replace", "replace", "drop", "add", "repeat"]):
            case "replace":
                line[self._random.randrange(len(line))] = self._random.choice(CELLS)
            case "drop":
                line.pop()
            case "add":
                line.append(self._random.choice(CELLS))
            case _:
                lines.append(line)
        return "\n".join(separator.join(line) for line in lines).encode("utf-8", "surrogatepass")

    def _query(self) -> str:
        names = ("coverage", "feature", "points", MARKER, "")
        values = ("0.9", "x1", "age", "3", "-1", "1e9", MARKER, "%00", "%ff", "%zz" + MARKER, "")
        return f"{self._random.choice(names)}={self._random.choice(values)}"

    def _target(self, target: str) -> str:
        parts = target.split("/")
        place = self._random.randrange(1, len(parts))
        parts[place] = self._random.choice(
            [
                MARKER,
                "",
                "..",
                "%2e%2e",
                "%00",
                "%ff",
                "%2f" + MARKER,
                quote(f"é{MARKER}"),
                "0",
                "-1",
                "01",
                "9" * 300,
            ]
        )
        return "/".join(parts)

    def _header(self) -> tuple[str, str]:
        known = (
            "Content-Encoding", "Request-Timeout", "Accept", "Authorization", "X-Request-ID", "Expect",
            "Range", "If-None-Match", "Origin", "Cookie", "Connection", "Upgrade", "traceparent",
        )  # fmt: skip
        name = self._random.choice([*known, f"X-{MARKER}", "X-" + self._word()])
        values = (MARKER, "", "0", "-1", "1e-9", "nan", "gzip", "100-continue", "*", "é" + MARKER, "9" * 5000)
        return name, self._random.choice(values)

    def _word(self) -> str:
        return "".join(self._random.choices(string.ascii_letters, k=8))


def encoded(request: Request, chunked: bool = False) -> bytes:
    """The bytes of a request whose connection ends with its answer."""
    headers = [("Host", "service"), ("Connection", "close"), *request.headers]
    body = request.body
    if chunked:
        headers.append((CHUNKED, "chunked"))
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif body:
        headers.append(("Content-Length", str(len(body))))
    head = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogatepass") + body


def _spots(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a document, as what holds it and where."""
    if isinstance(document, dict | list):
        for key, value in list(document.items() if isinstance(document, dict) else enumerate(document)):
            yield document, key
            yield from _spots(value)
