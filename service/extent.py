"""How deep a JSON text nests and how much it holds, told before it is parsed, and how wide its objects are.

Knows JSON alone.
"""

from itertools import chain
from typing import Any

import numpy as np

from service.errors import MalformedBody

# What a body may nest where nothing else is set. No request needs more than five levels.
DEPTH = 100
# The parser's own bound.
DEEPEST = 200
# Nobody declares as many fields: each that is not defined would cost an object that says so.
FIELDS = 1000
QUOTE, COMMA, BRACKET, BRACE = b'",[{'
# Bytes that neither open nor close anything; with the backslash that escapes, and without.
UNMARKED = bytes(set(range(256)) - set(b'[]{}"\\'))
UNESCAPED = UNMARKED + b"\\"
# Marks that are counted at a time: of a body that is nothing else they would take sixteen times its memory.
PIECE = 64 * 1024
STEPS = np.zeros(256, np.int64)
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1


def shallow(text: bytes, most: int) -> bytes:
    """The same text. Raises MalformedBody if its lists and objects nest more than `most` deep.

    It takes a fifth to a third of the time of parsing. Of what is no JSON it may say either; the parser
    refuses it.
    """
    marks = _marks(text)
    if len(marks) > most and _deepest(marks) > most:
        raise MalformedBody(
            f"The body is nested more than {most} levels deep; send lists and objects as /docs shows them."
        )
    return text


def values(text: bytes) -> int:
    """About how many values a JSON text holds: its commas, and what opens a list or an object.

    Those in strings are counted too. A list of five bytes, parsed, is an object of a hundred.
    """
    count = 0
    for start in range(0, len(text), PIECE):
        piece = np.frombuffer(text[start : start + PIECE], np.uint8)
        count += int(np.count_nonzero((piece == COMMA) | (piece == BRACKET) | (piece == BRACE)))
    return count


def narrow(document: Any) -> Any:
    """The same parsed JSON. Raises MalformedBody if an object has more than FIELDS fields.

    Looked at are the whole, what stands in it by name, and the items of lists there: no others are read
    field by field.
    """
    parts = list(document.values()) if isinstance(document, dict) else []
    items = chain.from_iterable(part for part in parts if isinstance(part, list))
    if any(isinstance(one, dict) and len(one) > FIELDS for one in chain([document], parts, items)):
        raise MalformedBody(
            f"An object of the body has more than {FIELDS:,} fields; see /docs for its shape."
        )
    return document


def _marks(text: bytes) -> bytes:
    """The brackets, braces and quotes of a text, but for escaped quotes and for quotes side by side.

    Two such change nothing, be they a string, or the end of one and the start of the next.
    """
    marks = text.translate(None, UNMARKED)
    if b"\\" in marks:
        marks = text.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, UNESCAPED)
    return marks.replace(b'""', b"")


def _deepest(marks: bytes) -> int:
    """The most that are open at a time, outside of strings."""
    opened = deepest = quotes = 0
    for start in range(0, len(marks), PIECE):
        piece = np.frombuffer(marks[start : start + PIECE], np.uint8)
        before = quotes + np.cumsum(piece == QUOTE)
        levels = opened + np.cumsum(STEPS[piece] * (1 - before % 2))
        deepest = max(deepest, int(levels.max()))
        opened, quotes = int(levels[-1]), int(before[-1])
    return deepest
