"""How deep a JSON text nests, told before it is parsed.

Knows JSON's text alone.
"""

import re

import numpy as np

from service.errors import MalformedBody

# What a body may nest where nothing else is set. No request needs more than five levels.
DEPTH = 100
# The parser's own bound.
DEEPEST = 200
# Bytes that neither open nor close anything, and escape nothing.
OTHERS = bytes(set(range(256)) - set(b'[]{}"\\'))
# One without an end goes on to the end of the text: to look for another from each of its quotes would take
# the square of the time.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# Marks that are counted at a time: of a body that is nothing else they would take eight times its memory.
PIECE = 64 * 1024
STEPS = np.zeros(256, np.int64)
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1


def shallow(text: bytes, most: int) -> bytes:
    """The same text. Raises MalformedBody if its lists and objects nest more than `most` deep.

    A tenth of the time that parsing takes. Of what is no JSON it may say either; the parser refuses it.
    """
    marks = _marks(text)
    if len(marks) > most and _deepest(marks) > most:
        raise MalformedBody(
            f"The body is nested more than {most} levels deep; send lists and objects as /docs shows them."
        )
    return text


def _marks(text: bytes) -> bytes:
    """The brackets and braces of a text, those in strings apart."""
    marks = text.translate(None, OTHERS)
    if b"\\" in marks:
        marks = STRING.sub(b"", text).translate(None, OTHERS)
    # Two quotes side by side change nothing between strings, and inside of one neither: nearly all are such.
    marks = marks.replace(b'""', b"")
    return STRING.sub(b"", marks) if b'"' in marks else marks


def _deepest(marks: bytes) -> int:
    """The most that are open at a time."""
    opened = deepest = 0
    for start in range(0, len(marks), PIECE):
        levels = opened + np.cumsum(STEPS[np.frombuffer(marks[start : start + PIECE], np.uint8)])
        deepest = max(deepest, int(levels.max()))
        opened = int(levels[-1])
    return deepest
