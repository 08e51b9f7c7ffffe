"""python -m service: serve the artifacts. `--help` lists the settings.

check, promote and rollback are the operator's commands: `python -m service check --help`. `serve`, as
SageMaker starts a container, does the same as no command, on port 8080.
"""

import os
import signal
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from pydantic import ValidationError

from service import commands, security
from service.errors import Misconfigured
from service.settings import Settings
from service.shutdown import CANCEL_AFTER_S, starting
from service.supervisor import Supervisor
from service.telemetry import SHARED, logging_config

if TYPE_CHECKING:
    from service.app import Service

# Longer than a worker takes to load the artifacts on a busy machine.
START_S = 120
# What SageMaker passes to a container that is to answer.
SAGEMAKER = "serve"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished, then the process exits with 0."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in commands.COMMANDS:
        sys.exit(commands.run(arguments, _settings([])))
    if arguments and arguments[0] == SAGEMAKER:
        os.environ["SAGEMAKER_BIND_TO_PORT"] = os.environ.get("SAGEMAKER_BIND_TO_PORT") or "8080"
        arguments = arguments[1:]
    settings = _settings(arguments)
    _check(settings)
    # Worker processes build the app anew: they read the very settings of this one.
    given = settings.model_dump(exclude_none=True)
    os.environ.update({name.upper(): str(value) for name, value in given.items()})
    if settings.workers == 1:
        _serve(settings)
        return
    with TemporaryDirectory(prefix="metrics-") as folder:
        os.environ[SHARED] = folder
        _serve(settings)


def _serve(settings: Settings) -> None:
    """Run uvicorn, which ends by raising SystemExit, or returns where it has workers."""
    # uvicorn raises the signal again when it has shut down; that is a success, not a death by signal.
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    # Until the artifacts are watched it would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    options: dict[str, Any] = {
        "app": "service.__main__:create_app",
        "factory": True,
        "host": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "log_config": logging_config(settings.log_level),
        "access_log": False,
        "server_header": False,
        "http": "service.connection:BoundedProtocol",
        "loop": "auto" if sys.platform == "win32" else "service.listening:new_loop",
        "proxy_headers": False,  # anybody can send them, and the rate limit counts addresses
        "ws": "none",  # there are none, and the server would log their paths and headers
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
        "timeout_worker_healthcheck": START_S,  # at SIGHUP workers are replaced, one after another
        "timeout_graceful_shutdown": CANCEL_AFTER_S,  # `shutdown` has waited before
    }
    if settings.workers == 1:
        uvicorn.run(**options)
        return
    config = uvicorn.Config(**options)
    Supervisor(config, [config.bind_socket()]).run()


def create_app() -> "Service":
    """What uvicorn serves, in each process. A signal while its parts are imported ends the process."""
    with starting():
        from service import app

        return app.create_app()


def _settings(arguments: Sequence[str]) -> Settings:
    """The settings; a wrong one ends the process with its name and exit code 2, as argparse does."""
    try:
        return Settings(_cli_parse_args=list(arguments))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        print("error: " + "; ".join(faults), file=sys.stderr)  # noqa: T201 - there is no log yet
        sys.exit(2)


def _check(settings: Settings) -> None:
    """End the process in the same way if what the settings name cannot be used."""
    try:
        security.check(settings)
    except Misconfigured as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def _exit(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
