"""Processes that begin at the same moment."""

import subprocess
import sys

from servers import ROOT, TIMEOUT_S


def run_together(code: str, *words: list[str]) -> None:
    """Run Python code, which waits for a line, once for each list of arguments, and see each end with 0."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for arguments in words
    ]  # fmt: skip
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
