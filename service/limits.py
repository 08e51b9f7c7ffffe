"""Limits that hold before a body is parsed; pure ASGI."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLarge


class BodyLimit:
    """Stops reading a body that is announced, or turns out, to be larger than `most` bytes.

    TooLarge is raised from `receive`, inside the route that reads, so that it is answered like any
    other error of that route.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Guard `app`; `most` is in bytes."""
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting the bytes of its body as they stream in."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        read = 0

        async def counted() -> Message:
            nonlocal read
            self._check(int(announced) if announced.isdigit() else 0)
            message = await receive()
            read += len(message.get("body", b""))
            self._check(read)
            return message

        await self.app(scope, counted, send)

    def _check(self, size: int) -> None:
        if size > self.most:
            raise TooLarge(f"A body may have at most {self.most:,} bytes; send fewer rows at a time.")
