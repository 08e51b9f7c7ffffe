"""The service, but that it counts requests as they begin: its log has those that ended. `restarts` starts it.

    BEGUN=begun.txt python -m benchmarks.counted --port 9141

The file that BEGUN names gets a byte for each POST, before anything of it is looked at.
"""

import os

from starlette.types import Receive, Scope, Send

from service import app
from service.__main__ import main


class Counted(app.Service):
    """The application, and the file in which it counts."""

    file = os.open(os.environ["BEGUN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request, and answer it."""
        if scope.get("method") == "POST":
            os.write(self.file, b".")
        await super().__call__(scope, receive, send)


app.Service = Counted  # type: ignore[misc]

if __name__ == "__main__":
    main()
