"""The edge of a real process, on raw sockets: whatever comes, it answers or closes, and keeps its memory."""

import gzip
import json
import os
import re
import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from servers import ROOT, TIMEOUT_S, Server, eventually

GATE = b'{"instances":[{"x1":1,"x2":1}]}'
HOST = b" HTTP/1.1\r\nHost: service\r\n"
LIVE = b"GET /health/live" + HOST + b"\r\n"
POST = b"POST /models/and_gate/predict" + HOST + b"Content-Type: application/json\r\n"
SIZED = b"Content-Length: %d\r\n" % len(GATE)
WHOLE = POST + SIZED + b"\r\n" + GATE
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
IN_CHUNKS = CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(GATE), GATE)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
GIGABYTE = 10**9
MOST_AT_A_TIME = 8
FILE = "/static-offline-docs/swagger-ui-bundle.js"
FILES = 20
ASKED = FILES * (b"GET " + FILE.encode() + HOST + b"\r\n")
GROWTH_KB = 50 * 1024


class Client:
    """A connection that sends bytes as they are."""

    def __init__(self, url: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=TIMEOUT_S)

    def send(self, data: bytes) -> None:
        """Send, as far as the server is still there."""
        with suppress(OSError):
            self.socket.sendall(data)

    def flood(self, data: bytes) -> None:
        """Send the same again and again until the server breaks off."""
        end = time.monotonic() + TIMEOUT_S
        try:
            while time.monotonic() < end:
                self.socket.sendall(data)
        except OSError:
            return
        raise AssertionError("the server would take it for ever")

    def rest(self) -> bytes:
        """Everything that comes until the server closes."""
        parts = []
        with suppress(ConnectionResetError):
            while part := self.socket.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """The next answer: status, headers, JSON."""
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._more()
        head, _, body = got.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        headers = dict(field.lower().split(": ", 1) for field in fields)
        while len(body) < int(headers["content-length"]):
            body += self._more()
        return int(line.split()[1]), headers, json.loads(body)

    def _more(self) -> bytes:
        part = self.socket.recv(1)
        assert part, "the server closed without a whole answer"
        return part

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of the gate alone, with little patience and the memory that it has after a first request."""
    folder = tmp_path_factory.mktemp("artifacts")
    shutil.copytree(ROOT / "artifacts/and_gate", folder / "and_gate")
    limits = {"header-timeout-s": 0.5, "body-timeout-s": 1, "max-body-bytes": 2**24}
    limits |= {"send-timeout-s": 1, "max-concurrent-requests": MOST_AT_A_TIME}
    options = [part for name, value in limits.items() for part in (f"--{name}", str(value))]
    with Server("--artifacts", str(folder), *options) as server:
        url = f"{server.url}/models/and_gate/predict"
        for encoding in ("identity", "gzip"):
            body = gzip.compress(GATE) if encoding == "gzip" else GATE
            headers = {"content-type": "application/json", "content-encoding": encoding}
            assert httpx.post(url, content=body, headers=headers).status_code == 200
        # From now on VmHWM is the most that it has had since.
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
        yield server


@pytest.fixture(scope="module")
def before(server: Server) -> int:
    """The memory before anything bad came, in KB."""
    return memory(server, "VmRSS")


@pytest.fixture(autouse=True)
def _unharmed(server: Server, before: int) -> Iterator[None]:
    """After each test, and so after all of them, the service lives and has hardly grown."""
    yield
    assert httpx.get(f"{server.url}/health/live").status_code == 200
    assert memory(server, "VmHWM") - before < GROWTH_KB


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def memory(server: Server, what: str) -> int:
    """What the kernel counts for the process, in KB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", status)
    assert found
    return int(found[1])


def refused(client: Client, status: int) -> dict[str, Any]:
    """Assert that this problem comes, that it is the last answer, and that the connection is closed."""
    got, headers, body = client.answer()
    assert (got, headers["content-type"]) == (status, "application/problem+json")
    assert headers["connection"] == "close"
    assert body["status"] == status
    assert body["instance"] == f"urn:request:{headers['x-request-id']}"
    assert {"type", "title", "detail"} <= body.keys()
    assert client.rest() == b""
    return body


class TestHeads:
    """What comes before there is a request."""

    @pytest.mark.parametrize(
        "head",
        [
            b"GET /health/live" + HOST + b"X-A: a\r\n" * 10_000 + b"\r\n",
            b"GET /health/live" + HOST + b"X: a\r\n" * 100 + b"\r\n",
            b"GET /health/live" + HOST + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",
            b"GET /" + b"a" * 40_000 + HOST + b"\r\n",
            b"GET /?" + b"a" * 10**6 + HOST + b"\r\n",
        ],
        ids=["10,000 headers", "101 headers", "a long header", "a long path", "a long query"],
    )
    def test_a_large_one_is_refused(self, client: Client, head: bytes) -> None:
        """431, and the connection ends."""
        client.send(head)

        assert "32,768 bytes" in refused(client, 431)["detail"]

    @pytest.mark.parametrize(
        ("begin", "more", "answers"),
        [
            (b"", b"a", [400]),
            (b"", b"\r\n", [431]),
            (b"GET /", b"a", [431]),
            (b"GET /health/live" + HOST + b"X-A: ", b"a", [431]),
            (b"GET /health/live" + HOST + b"X-A:", b" ", [431]),
            (b"GET /health/live" + HOST, b"X-A: a\r\n", [431]),
            (LIVE + b"GET /health/live" + HOST + b"X-A: ", b"a", [200, 431]),
            (IN_CHUNKS + b"X-A: ", b"a", [431]),
            (IN_CHUNKS, b"X-A: a\r\n", [431]),
            (CHUNKED + b"1;a=", b"a", [431]),
        ],
        ids=[
            "method", "blank lines", "path", "value", "space", "headers", "second request", "trailer",
            "trailers", "chunk extension",
        ],
    )  # fmt: skip
    def test_an_endless_one_is_cut_off(
        self, server: Server, client: Client, begin: bytes, more: bytes, answers: list[int]
    ) -> None:
        """While it comes others are answered, and those before it are; nothing that comes later is."""
        client.send(begin + more)
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        client.send(more * (2**20 // len(more)))
        client.send(b"\r\n\r\n" + WHOLE)

        assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", client.rest())] == answers

    @pytest.mark.parametrize(
        ("begin", "more"),
        [
            (b"GET /health/live" + HOST + b"X-A: ", b"a"),
            (IN_CHUNKS + b"X-A: ", b"a"),
            (POST.replace(b"and_gate", b"nobody") + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a"),
        ],
        ids=["head", "trailer", "trailer behind the answer"],
    )
    def test_who_goes_on_after_that_is_cut_off(self, client: Client, begin: bytes, more: bytes) -> None:
        """Whoever does not read the answer cannot keep the connection."""
        client.send(begin)

        client.flood(more * 2**18)

    def test_a_hundred_headers_and_nearly_all_the_bytes_are_allowed(self, client: Client) -> None:
        """Also when they come in small parts, and after another request."""
        head = b"GET /health/live" + HOST + b"".join(b"X-%d: a\r\n" % number for number in range(98))
        head += b"Y: " + b"a" * (32_000 - len(head)) + b"\r\n\r\n"
        client.send(head + head)
        for start in range(0, len(head), 5000):
            client.send(head[start : start + 5000])

        assert [client.answer()[0] for _ in range(3)] == [200, 200, 200]

    @pytest.mark.parametrize("before_it", [b"", LIVE], ids=["new", "kept alive"])
    def test_a_slow_one_is_cut_off(self, client: Client, before_it: bytes) -> None:
        """408 when it is not whole in time, on a new connection and on one that was used."""
        if before_it:
            client.send(before_it)
            assert client.answer()[0] == 200
        client.send(b"GET /health")

        refused(client, 408)

    def test_who_has_been_answered_may_be_silent_for_longer(self, server: Server, client: Client) -> None:
        """Longer than a head may take, which is when a connection without a byte is closed."""
        client.send(LIVE)
        assert client.answer()[0] == 200
        with Client(server.url) as silent:
            assert silent.rest() == b""
        client.send(LIVE)

        assert client.answer()[0] == 200

    def test_a_connection_without_a_byte_is_closed(self, client: Client) -> None:
        """Silently: nothing was asked."""
        assert client.rest() == b""

    def test_a_blank_line_does_not_keep_a_connection_for_ever(self, client: Client) -> None:
        """Which a client may send after a request, and uvicorn takes for a sign of life."""
        client.send(LIVE)
        assert client.answer()[0] == 200
        client.send(b"\r\n")

        assert client.rest() == b""

    @pytest.mark.parametrize(
        "request_",
        [
            b"MARKER MARKER MARKER\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"MARKER" * 80,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT /MARKER" + HOST + b"\r\n",
            b"CONNECT marker:80" + HOST + b"\r\n",
            b"GET MARKER" + HOST + b"\r\n",
            b"GET /\xff\xfe" + HOST + b"\r\n",
            b"GET /\x00" + HOST + b"\r\n",
            LIVE.replace(b"\r\n", b"\n"),
            LIVE.replace(b"\r\n\r\n", b"\r\nX: a\r\n MARKER\r\n\r\n"),
            LIVE.replace(b"\r\n\r\n", b"\r\nX : MARKER\r\n\r\n"),
            LIVE.replace(b"\r\n\r\n", b"\r\nX: \x00\r\n\r\n"),
            POST + SIZED + b"Transfer-Encoding: chunked\r\n\r\n" + GATE,
            POST + SIZED + b"Content-Length: 3\r\n\r\n" + GATE,
            POST + b"Content-Length: -1\r\n\r\n" + GATE,
            POST + b"Content-Length: +31\r\n\r\n" + GATE,
            POST + b"Content-Length: 0x1f\r\n\r\n" + GATE,
            POST + b"Content-Length: %d\r\n\r\n" % 10**30 + GATE,
            CHUNKED + b"MARKER\r\n" + GATE,
            CHUNKED + b"-1\r\n" + GATE,
            CHUNKED + b"f" * 20 + b"\r\n" + GATE,
            POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + GATE,
            b"GET /health/live HTTP/1.1\r\n\r\n",
            b"GET /health/live HTTP/1.1\r\n" + H2C + b"\r\n",
            b"GET /health/live" + HOST + b"Host: MARKER\r\n\r\n",
            b"GET /health/live HTTP/1.0\r\nHost: a\r\nHost: MARKER\r\n\r\n",
        ],
    )
    def test_what_is_no_http_gets_400(self, client: Client, request_: bytes) -> None:
        """As a problem, as every other error, and it is the last word."""
        client.send(request_)

        assert "MARKER" not in str(refused(client, 400))

    def test_a_request_of_http_1_0_needs_no_host(self, client: Client) -> None:
        """It did not know of hosts: load balancers ask so whether a server lives."""
        client.send(b"GET /health/live HTTP/1.0\r\n\r\n")

        assert client.answer()[0] == 200

    def test_nonsense_after_a_request_does_not_take_its_answer(self, client: Client) -> None:
        """A refusal in the first one's place would be read as its answer."""
        client.send(WHOLE + LIVE + b"MARKER\x00\r\n\r\n")

        assert client.answer()[2]["model"] == "and_gate"
        assert client.answer()[0] == 200
        assert client.rest() == b""

    @pytest.mark.parametrize("nonsense", [b"\x16\x03\x01", b"MARKER\r\n\r\n"])
    def test_nonsense_after_an_answer_gets_400(self, client: Client, nonsense: bytes) -> None:
        """Whether or not it begins like a request."""
        client.send(POST.replace(b"and_gate", b"nobody") + SIZED + b"\r\n")
        assert client.answer()[0] == 404
        client.send(GATE + WHOLE)
        assert client.answer()[0] == 200
        client.send(nonsense)

        refused(client, 400)

    def test_a_thousand_requests_for_another_protocol_are_answered(self, client: Client) -> None:
        """Sent at once, each is read twice, and none on top of the others."""
        client.send(LIVE.replace(b"\r\n\r\n", b"\r\n" + H2C + b"\r\n") * 1000)

        assert {client.answer()[0] for _ in range(1000)} == {200}

    def test_nonsense_in_a_body_that_began_well_gets_400(self, client: Client) -> None:
        """There is nothing else to be answered."""
        client.send(CHUNKED + b"1\r\n{\r\n")
        client.send(b"MARKER\r\n")

        refused(client, 400)

    @pytest.mark.parametrize(
        "request_",
        [
            b"GET http://service/health/live" + HOST + b"\r\n",
            b"\r\n" + LIVE,
            LIVE.replace(b"\r\n\r\n", b"\r\n" + H2C + b"\r\n"),
            WHOLE.replace(SIZED, SIZED + H2C),
            IN_CHUNKS.replace(b"Content-Type", H2C + b"Content-Type") + b"\r\n",
            IN_CHUNKS + b"Content-Type: text/csv\r\nContent-Encoding: br\r\nX: a\r\n\r\n",
        ],
        ids=["absolute", "after a blank line", "h2c", "h2c with a body", "h2c in chunks", "trailers"],
    )
    def test_what_is_http_is_answered(self, client: Client, request_: bytes) -> None:
        """And the connection is good for the next one: an unknown protocol is not changed to."""
        client.send(request_ + WHOLE)

        assert [client.answer()[0], client.answer()[0]] == [200, 200]


class TestBodies:
    """What comes after the head."""

    @pytest.mark.parametrize("sent", [b"", b'{"instances":'], ids=["nothing", "a part"])
    @pytest.mark.parametrize("announced", [b"Content-Length: 1000\r\n\r\n", CHUNKED[len(POST) :]])
    def test_a_slow_one_is_cut_off(self, client: Client, announced: bytes, sent: bytes) -> None:
        """408 when it is not whole in time."""
        chunk = b"%x\r\n%s\r\n" % (len(sent), sent) if sent and b"chunked" in announced else sent
        client.send(POST + announced + chunk)

        refused(client, 408)

    @pytest.mark.parametrize("path", [b"/models/and_gate/predict", b"/v2/repository/index"])
    def test_a_gigabyte_announced_is_refused_before_it_comes(
        self, server: Server, client: Client, path: bytes
    ) -> None:
        """And is not taken when it comes all the same, by whichever of two ways a body is read."""
        announced = POST.replace(b"/models/and_gate/predict", path) + b"Content-Length: %d\r\n\r\n"
        client.send(announced % GIGABYTE)
        status, headers, _ = client.answer()
        assert (status, headers["connection"]) == (413, "close")

        client.flood(b" " * 2**18)

    def test_nothing_is_done_for_who_was_told_that_the_connection_ends(
        self, server: Server, client: Client
    ) -> None:
        """A request that follows a refused body is not begun."""
        counted = re.compile(r'http_requests_total{.*predict",status="200"} (.*)')
        before = counted.findall(httpx.get(f"{server.url}/metrics").text)
        client.send(POST + b"Content-Length: %d\r\n\r\n" % (2**24 + 1))
        assert client.answer()[0] == 413
        client.send(b" " * (2**24 + 1) + WHOLE)
        assert client.rest() == b""

        assert before == counted.findall(httpx.get(f"{server.url}/metrics").text) != []

    def test_a_gigabyte_in_chunks_is_refused_when_it_has_become_too_much(self, client: Client) -> None:
        """After as many bytes as a body may have."""
        client.send(CHUNKED)
        for _ in range(17):
            client.send(b"100000\r\n" + b" " * 2**20 + b"\r\n")
        assert client.answer()[0] == 413

        client.flood(b"100000\r\n" + b" " * 2**20 + b"\r\n")

    @pytest.mark.parametrize(
        "parts",
        [
            [CHUNKED + b"3B9ACA00\r\n"],
            [CHUNKED, b"3B9ACA00\r\n{"],
            [CHUNKED + b"00000000003B9A", b"CA00;a=b\r\n"],
            [CHUNKED, *(b"%c" % byte for byte in b"3b9aca00\r\n")],
            [CHUNKED + b"1\r\n{\r\n", b"1\r\n ", b"\r\n3B9", b"ACA00;" + b"a" * 1000, b"\r\n"],
            [CHUNKED + b"2\r\n\n5\r\n3B9ACA00\r\n" + b" " * 1000],
        ],
        ids=["with the head", "with a byte of it", "in parts", "by bytes", "a later one", "lines in it"],
    )
    def test_a_gigabyte_announced_as_a_chunk_is_refused_before_it_comes(
        self, server: Server, client: Client, parts: list[bytes]
    ) -> None:
        """However its line is cut; nothing else is waited for."""
        # One connection: to make a new one for each part takes longer than the body has.
        with httpx.Client(base_url=server.url) as other:
            for part in parts:
                client.send(part)
                assert other.get("/health/live").status_code == 200  # what was sent has been read

        assert "16,777,216 bytes" in refused(client, 413)["detail"]

    def test_what_looks_like_the_size_of_a_chunk_is_none_within_it(self, client: Client) -> None:
        """Lines of digits in a body, and such that a part ends with."""
        for part in (CHUNKED, b"9\r\n3B9ACA00\n", b"\r\nA\r\n", b"3B9ACA00\r\n\r\n", b"0\r\n\r\n" + WHOLE):
            client.send(part)

        assert [client.answer()[0], client.answer()[0]] == [400, 200]

    @pytest.mark.parametrize("path", [b"/models/and_gate/predict", b"/models/nobody/predict"])
    def test_who_asks_whether_to_send_a_body_that_is_refused_is_told_so(
        self, client: Client, path: bytes
    ) -> None:
        """Without a 100, and the connection ends: what follows may be the body, or the next request."""
        size = GIGABYTE if b"gate" in path else len(GATE)
        head = POST.replace(b"/models/and_gate/predict", path)
        client.send(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size)
        assert client.answer()[0] == (413 if b"gate" in path else 404)
        client.send(GATE + WHOLE)

        assert client.rest() == b""

    def test_who_asks_whether_to_send_a_body_that_is_welcome_may(self, client: Client) -> None:
        """100, the answer, and the connection is good for the next one."""
        client.send(POST + SIZED + b"Expect: 100-continue\r\n\r\n")
        assert client.socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(GATE)
        assert client.answer()[0] == 200
        client.send(WHOLE)
        assert client.answer()[0] == 200

    def test_a_body_that_nobody_reads_does_not_end_the_connection(self, client: Client) -> None:
        """Clients that send head and body apart get an answer between the two."""
        client.send(POST.replace(b"and_gate", b"nobody") + SIZED + b"\r\n")
        assert client.answer()[0] == 404
        client.send(GATE + WHOLE)

        assert client.answer()[0] == 200

    def test_a_body_that_nobody_reads_is_not_taken_for_ever(self, client: Client) -> None:
        """Who goes on sending it is cut off."""
        client.send(POST.replace(b"and_gate", b"nobody") + b"Content-Length: %d\r\n\r\n" % GIGABYTE)
        assert client.answer()[0] == 404

        client.flood(b" " * 2**18)

    def test_nonsense_in_a_body_that_nobody_reads_is_not_answered(self, client: Client) -> None:
        """Its request has been: a second answer would be that to the next one."""
        client.send(CHUNKED.replace(b"and_gate", b"nobody"))
        assert client.answer()[0] == 404
        client.send(b"MARKER\r\n")

        assert client.rest() == b""

    def test_a_gzip_bomb_is_refused(self, server: Server) -> None:
        """A gigabyte of zeros in a megabyte."""
        packer = zlib.compressobj(1, wbits=31)
        bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(1000)) + packer.flush()
        headers = {"content-type": "application/json", "content-encoding": "gzip"}

        response = httpx.post(f"{server.url}/models/and_gate/predict", content=bomb, headers=headers)

        assert response.status_code == 413

    @pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
    def test_a_nest_of_brackets_is_refused(self, client: Client, bracket: bytes) -> None:
        """250,000 of them."""
        nest = b'{"instances":[{"x1":' + bracket * 250_000
        client.send(POST + b"Content-Length: %d\r\n\r\n" % len(nest) + nest)

        assert client.answer()[0] == 400


class TestAnswers:
    """A client may take its time to read, as long as it reads."""

    def test_who_reads_nothing_gives_its_place_up(self, server: Server) -> None:
        """As many as may be answered at a time ask for what no buffer of the system holds."""

        def status() -> int:
            return httpx.get(f"{server.url}/models").status_code

        def opened() -> int:
            return len(os.listdir(f"/proc/{server.process.pid}/fd"))

        before = opened()
        with ExitStack() as clients:
            for _ in range(MOST_AT_A_TIME):
                clients.enter_context(Client(server.url)).send(ASKED)
            eventually(lambda: status() == 429)
            eventually(lambda: opened() <= before)
            assert status() == 200

    def test_who_reads_slowly_gets_all_of_it(self, server: Server, client: Client) -> None:
        """Although it takes longer than the time in which something is to be read."""
        size = len(httpx.get(server.url + FILE).content)
        client.send(ASKED)
        began, left = time.monotonic(), FILES * size
        while left > 0:
            time.sleep(0.2)
            for _ in range(50):
                part = client.socket.recv(2**16)
                left -= len(part)
                if left <= 0:
                    break
                assert part, "the server closed"
        assert time.monotonic() - began > 2


def test_what_was_refused_is_counted_and_logged_without_a_byte_of_it(server: Server, client: Client) -> None:
    """By its status alone: of a request that is none, nothing else is known."""
    client.send(b"MARKER /MARKER MARKER\r\n\r\n")
    request_id = refused(client, 400)["instance"].removeprefix("urn:request:")

    page = httpx.get(f"{server.url}/metrics").text
    assert re.search(r'http_requests_total\{method="OTHER",route="unmatched",status="400"\} \d', page)
    log = "".join(server.log)
    assert f"OTHER unmatched 400 0.0 ms {request_id}" in log
    for never in ("MARKER", "Traceback", "ERROR", "WARNING uvicorn"):
        assert never not in log
