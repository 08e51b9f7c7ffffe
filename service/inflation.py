"""Inflates a gzip body (RFC 1952) piece by piece, never further than it may.

A body says nothing of what it will become: a megabyte can hold a gigabyte. So it is measured as it grows.
"""

import zlib

from service.errors import MalformedBody, TooLarge

# What is read, and what is written at most, before the bounds are looked at.
PIECE = 64 * 1024
# A body may inflate to this whatever its ratio: small ones of equal rows shrink well.
HARMLESS = 2**20
# zlib's word for a gzip header and trailer around the stream, which it then checks.
GZIP = 16 + zlib.MAX_WBITS


def inflate(body: bytes, most: int, ratio: float) -> bytes:
    """The content of a gzip body: at most `most` bytes, at no point more than `ratio` times what was read.

    Raises TooLarge where it would be more, and MalformedBody where it is not one whole gzip member.
    """
    stream = zlib.decompressobj(GZIP)
    parts, size = list[bytes](), 0
    for start in range(0, len(body), PIECE):
        piece = body[start : start + PIECE]
        while piece:
            parts.append(_inflated(stream, piece))
            size += len(parts[-1])
            piece = stream.unconsumed_tail
            _bound(size, min(start + PIECE, len(body)) - len(piece), most, ratio)
        if stream.eof:
            break
    if not stream.eof:
        raise MalformedBody("The gzip body ends before its end; send it whole.")
    if stream.unused_data or start + PIECE < len(body):
        raise MalformedBody(
            "There is more behind the end of the gzip body; send one member and nothing else."
        )
    return b"".join(parts)


def _inflated(stream: "zlib._Decompress", piece: bytes) -> bytes:
    try:
        return stream.decompress(piece, PIECE)
    except zlib.error:
        raise MalformedBody("The body is not gzip, or was damaged; compress it anew.") from None


def _bound(size: int, read: int, most: int, ratio: float) -> None:
    """Raise TooLarge if `size` bytes that came of `read` are more than may be."""
    if size > most:
        raise TooLarge(f"A body may have at most {most:,} bytes when inflated; send fewer rows at a time.")
    if size > max(HARMLESS, ratio * read):
        raise TooLarge(
            f"A body of more than {HARMLESS:,} bytes may inflate to at most {ratio:g} times its size;"
            " send it as it is."
        )
