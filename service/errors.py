"""What can go wrong, in the words of the domain; imports nothing of ours and knows no HTTP.

    ServiceError
        UnknownKey          no key, or none that is alive
        MissingScope        a key that may not ask for this
        RateExceeded        a caller who asks more often than is allowed
        UnknownModel        a name that no declaration bears
        UnknownVersion      a version that is not being served
        UnknownDrawing      a file that is not among a card's drawings
        MalformedRequest    bytes that are no HTTP
        HeadTooLarge        a request line and headers of more bytes, or more headers, than are allowed
        SlowRequest         a request that was not whole in the time that it had
        UnsupportedMedia    a body of a type that no route reads
            UnsupportedEncoding  it is compressed in a way that no route reads
        TooLarge            more bytes or rows than are allowed
        RefusedBody         a body that was read and refused
            MalformedBody   it is not the JSON or CSV envelope
            InvalidRows     its rows break the declaration
            InvalidParameters  its options do, and perhaps its rows too
        NotReady            a declared model that no loaded artifact answers
        ShuttingDown        the service is on its way out
        Overloaded          more rows or requests are waiting than may, or for longer than this one may
        DeadlineExceeded    no answer in the time that the request had
        CallerGone          nobody waits for the answer any more
        ModelFailure        a graph that answered with something that is not an answer
        ArtifactRejected    a folder under artifacts/ that may not be served
        DeviceUnavailable   DEVICE=gpu on a machine where TensorFlow sees none
        Misconfigured       a setting names something that cannot be used

No message ever contains a value that a caller sent: rows are patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class ServiceError(Exception):
    """Anything that this service reports on purpose."""


@dataclass(frozen=True)
class Violation:
    """One place of a request that breaks a rule.

    `pointer` is a JSON pointer in fragment form (RFC 6901, section 6), such as `#/instances/3/age`;
    `detail` says what was wrong, what is allowed and what to do; `code` is stable for programs.
    """

    pointer: str
    detail: str
    code: str


class UnknownKey(ServiceError):
    """The request has no key, or none that is alive: nobody is told which."""

    def __init__(self) -> None:
        super().__init__("Send a key that is alive, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")


class MissingScope(ServiceError):
    """The request's key is alive, but its scopes do not hold what the request needs."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"The key has not the scope `{scope}`; use one that has it, or ask the operator.")


class RateExceeded(ServiceError):
    """The caller has asked as often as is allowed for now."""

    def __init__(self, seconds: int) -> None:
        super().__init__("The requests come faster than is allowed; wait as long as Retry-After says.")
        self.seconds = seconds


class UnknownModel(ServiceError):
    """The path names a model that is not declared."""


class UnknownVersion(ServiceError):
    """The path names a version that is not being served."""


class UnknownDrawing(ServiceError):
    """The path names a file that is not one of the card's drawings."""


class MalformedRequest(ServiceError):
    """What came over the connection is no request, or none that is understood here."""


class HeadTooLarge(ServiceError):
    """The request line and the headers have more bytes, or there are more headers, than are allowed."""


class SlowRequest(ServiceError):
    """The head, or the body after it, did not come in the time that it had."""


class UnsupportedMedia(ServiceError):
    """The body's media type or charset is not one that the route reads."""


class UnsupportedEncoding(UnsupportedMedia):
    """The body has a content coding that no route reads."""


class TooLarge(ServiceError):
    """The body has more bytes, or more rows, than the settings allow."""


class RefusedBody(ServiceError):
    """A body that was read and refused, with every place that is at fault."""

    def __init__(self, detail: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(detail)
        self.violations = tuple(violations)


class MalformedBody(RefusedBody):
    """The body is not JSON or CSV, or not the envelope that the route documents."""


class InvalidRows(RefusedBody):
    """The envelope is right, but a row or a target breaks the declaration."""


class InvalidParameters(RefusedBody):
    """The envelope is right, but an option is none of the allowed ones, or is missing."""


class NotReady(ServiceError):
    """No artifact of a declared model has passed its checks."""


class ShuttingDown(ServiceError):
    """The service is leaving, and takes no more work."""

    def __init__(self) -> None:
        super().__init__("The service is shutting down; send the request to another one, or a little later.")


class Overloaded(ServiceError):
    """As many rows or requests as may be are waiting, or those that wait take longer than this one may."""


class DeadlineExceeded(ServiceError):
    """The time that the request had is over."""

    def __init__(self) -> None:
        super().__init__("There was no answer in the time that this request had; send fewer rows, or later.")


class CallerGone(ServiceError):
    """Whoever asked has gone away."""


class ModelFailure(ServiceError):
    """The graph raised, or answered with a value that is not finite."""


class ArtifactRejected(ServiceError):
    """An artifact differs from its declaration or its manifest, or does not reproduce its golden rows."""


class DeviceUnavailable(ServiceError):
    """The device that the settings insist on is not there."""


class Misconfigured(ServiceError):
    """A file or an address that the settings name cannot be used."""
