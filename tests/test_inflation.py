"""Gzip bodies: the same content again, or a refusal before it becomes much."""

import gzip
import random
import tracemalloc
import zlib

import pytest

from service.errors import MalformedBody, TooLarge
from service.inflation import HARMLESS, PIECE, inflate

MOST = 64 * 2**20
WHOLE = gzip.compress(b"a body" * 100)
# One that ends where a piece does.
PLAIN = next(body for body in (gzip.compress(bytes(PIECE - n), 0) for n in range(100)) if len(body) == PIECE)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, HARMLESS, 3 * HARMLESS + 1])
@pytest.mark.parametrize("level", [1, 9])
def test_what_was_compressed_comes_back(size: int, level: int) -> None:
    """Of any size, also where pieces end."""
    noise = random.Random(size).randbytes(size // 2)
    content = noise + b"ab" * (size - len(noise))

    assert inflate(gzip.compress(content, level), MOST, 100) == content


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    """100 MB of zeros in 100 KB: no more than what is harmless is ever held."""
    bomb = gzip.compress(bytes(100 * 2**20))
    tracemalloc.start()

    with pytest.raises(TooLarge, match="100 times"):
        inflate(bomb, MOST, 100)

    assert tracemalloc.get_traced_memory()[1] < 2 * HARMLESS
    tracemalloc.stop()


def test_the_ratio_holds_for_what_was_read_and_not_for_what_is_still_to_come() -> None:
    """Noise behind a bomb does not make it harmless."""
    noise = random.Random(1).randbytes(2**20)

    with pytest.raises(TooLarge, match="100 times"):
        inflate(gzip.compress(bytes(8 * 2**20) + noise), MOST, 100)
    assert inflate(gzip.compress(noise + bytes(8 * 2**20)), MOST, 100) == noise + bytes(8 * 2**20)


def test_a_little_may_have_any_ratio() -> None:
    """Small bodies of equal rows shrink well; one byte more is too much."""
    assert inflate(gzip.compress(bytes(HARMLESS)), MOST, 2) == bytes(HARMLESS)
    with pytest.raises(TooLarge, match="100 times"):
        inflate(gzip.compress(bytes(HARMLESS + 1)), MOST, 100)


def test_no_body_becomes_larger_than_a_body_may_be() -> None:
    """To the byte."""
    content = random.Random(1).randbytes(1000)

    assert inflate(gzip.compress(content), 1000, 100) == content
    with pytest.raises(TooLarge, match="999 bytes"):
        inflate(gzip.compress(content), 999, 100)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        WHOLE[:-1],
        WHOLE[:-9],
        WHOLE[:5],
        WHOLE[:-8] + bytes(8),
        WHOLE[:12] + b"\xff" + WHOLE[13:],
        zlib.compress(b"a body"),
        WHOLE + b"\0",
        WHOLE + WHOLE,
        gzip.compress(b"") * 100_000,
        PLAIN + b"\0",
    ],
    ids=[
        "empty", "JSON", "a byte short", "no checksum", "half a header", "wrong checksum", "damaged", "zlib",
        "a byte more", "two members", "100,000 members", "more in the next piece",
    ],
)  # fmt: skip
def test_what_is_not_one_whole_member_is_refused(body: bytes) -> None:
    """Cut off, damaged, or with something behind its end."""
    with pytest.raises(MalformedBody):
        inflate(body, MOST, 100)
