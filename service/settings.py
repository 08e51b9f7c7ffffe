"""The settings: each an option, an environment variable and a line of .env, in that order of rank."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from limits import parse_many
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, FilePath, ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.extent import DEEPEST, DEPTH
from service.models import MODELS
from service.protocol import MAX_ROWS
from service.spec import ModelSpec

ORIGIN = r"\*|https?://[^/,\s]+"


def _are_origins(text: str | None) -> str | None:
    if text and not re.fullmatch(rf"({ORIGIN})(,({ORIGIN}))*", text):
        raise ValueError("give origins, separated by commas: https://host or https://host:port, or *")
    return text


def _is_rate(text: str | None) -> str | None:
    with suppress(ValueError):
        if text is None or all(item.amount for item in parse_many(text)):
            return text
    raise ValueError("give numbers of requests, separated by semicolons: 100/second or 5000/minute")


def _is_store(url: str) -> str:
    if url != "memory://" and not url.startswith(("redis://", "rediss://", "redis+unix://")):
        raise ValueError("give memory://, redis://host:port, rediss://host:port or redis+unix:///path")
    return url


def _are_both(key: Path | None, info: ValidationInfo) -> Path | None:
    # A certificate that is no file has been refused already, and is not here.
    if "tls_certificate" in info.data and (key is None) != (info.data["tls_certificate"] is None):
        raise ValueError("a certificate and its key belong together: give both, or neither")
    return key


ALL = "all"


def _are_declared(names: str) -> str:
    plain = ",".join(name.strip() for name in names.lower().split(","))
    if plain != ALL and not MODELS.keys() >= {*plain.split(",")}:
        raise ValueError(f"give {ALL}, or models with commas between: {', '.join(MODELS)}")
    return plain


def _is_served(name: str | None, info: ValidationInfo) -> str | None:
    # Names that are no models have been refused already, and are not here.
    served = _served(info.data.get("models", ALL))
    if name is not None and name not in served:
        raise ValueError(f"give one of the models that are served: {', '.join(served)}")
    return name


def _served(names: str) -> dict[str, ModelSpec]:
    asked = MODELS if names == ALL else names.split(",")
    return {name: spec for name, spec in MODELS.items() if name in asked}


def _is_path(path: str | None) -> str | None:
    # Braces would be a pattern to the router.
    if path is not None and not re.fullmatch(r"/[^{}?#\s]*", path):
        raise ValueError("give a path that begins with /, without a query and without braces")
    return path


ANY = "any"


def _digests(text: str) -> str:
    """The digests without spaces, in small letters. Raises ValueError, which does not repeat them."""
    plain = re.sub(r"\s", "", str(text)).lower()
    if not re.fullmatch(rf"{ANY}|[0-9a-f]{{64}}(,[0-9a-f]{{64}})*", plain):
        raise ValueError(
            "give the SHA-256 of each manifest.json that may load, 64 hexadecimal digits with commas between,"
            f" as `python -m service check` prints them, or `{ANY}`"
        )
    return plain


class Settings(BaseSettings):
    """Serve the models below `artifacts` over HTTP.

    Example: python -m service --port 8080 --device cpu
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        loc_by_alias=False,  # a wrong AIP_HTTP_PORT is a wrong port too
    )

    host: str = Field("127.0.0.1", description="address to listen on (HOST)")
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("port", "aip_http_port", "sagemaker_bind_to_port"),
        description="port to listen on (PORT; else AIP_HTTP_PORT or SAGEMAKER_BIND_TO_PORT)",
    )
    workers: int = Field(1, ge=1, description="processes that answer (WORKERS)")
    artifacts: Path = Field(Path("artifacts"), description="folder of <model>/<version>/ (ARTIFACTS)")
    models: Annotated[str, AfterValidator(_are_declared)] = Field(
        ALL, description="models that are served, with commas between (MODELS)"
    )
    model_poll_s: float = Field(
        2.0, ge=0, description="seconds between two looks at the artifacts; 0: only when told (MODEL_POLL_S)"
    )
    trusted_digests: Annotated[str, BeforeValidator(_digests)] = Field(
        ANY, description="SHA-256 of each manifest.json that may load, with commas between (TRUSTED_DIGESTS)"
    )
    device: Literal["cpu", "gpu", "auto"] = Field("auto", description="where TensorFlow computes (DEVICE)")
    # 100,000 patients in JSON take 35 MiB. Of a gigabyte that is not announced so much may be held.
    max_body_bytes: int = Field(40 * 2**20, ge=1, description="larger bodies get 413 (MAX_BODY_BYTES)")
    # Else a few hundred clients who send slowly, or not to the end, would fill the memory.
    max_held_bytes: int = Field(
        256 * 2**20,
        ge=1,
        description="of all bodies together that are held: beyond, 429 (MAX_HELD_BYTES)",
    )
    max_header_bytes: int = Field(
        32 * 2**10, ge=1024, description="requests with a larger head get 431 (MAX_HEADER_BYTES)"
    )
    header_timeout_s: float = Field(
        10, gt=0, description="seconds until a head that is not whole gets 408 (HEADER_TIMEOUT_S)"
    )
    body_timeout_s: float = Field(
        30, gt=0, description="seconds until a body that is not whole gets 408 (BODY_TIMEOUT_S)"
    )
    send_timeout_s: float = Field(
        30,
        gt=0,
        description="seconds in which a client takes 64 KiB of its answer, or is cut off (SEND_TIMEOUT_S)",
    )
    max_inflation: float = Field(
        100,
        ge=1,
        description="gzip bodies that grow by more than this, beyond 1 MiB, get 413 (MAX_INFLATION)",
    )
    max_json_depth: int = Field(
        DEPTH, ge=8, le=DEEPEST, description="JSON bodies nested deeper than this get 400 (MAX_JSON_DEPTH)"
    )
    max_rows: int = Field(
        MAX_ROWS, ge=1, le=MAX_ROWS, description="requests with more rows get 413 (MAX_ROWS)"
    )
    max_waiting_rows: int = Field(
        500_000,
        ge=1,
        description="rows that may wait or be computed at a time, of large requests nine tenths of them;"
        " beyond: 429 (MAX_WAITING_ROWS)",
    )
    max_concurrent_requests: int = Field(
        256,
        ge=1,
        description="requests that are answered at a time; beyond: 429 (MAX_CONCURRENT_REQUESTS)",
    )
    request_timeout_s: float = Field(
        60,
        gt=0,
        description="seconds until a request that was read, but has no answer, gets 504 (REQUEST_TIMEOUT_S)",
    )
    drain_grace_s: float = Field(
        2.0,
        ge=0,
        description="seconds after SIGTERM in which it is not ready, but answers; then 503 (DRAIN_GRACE_S)",
    )
    shutdown_timeout_s: int = Field(
        30, ge=2, description="seconds from SIGTERM until it has ended (SHUTDOWN_TIMEOUT_S)"
    )
    invocations_model: Annotated[str | None, AfterValidator(_is_served)] = Field(
        None, description="the model that /invocations and AIP_PREDICT_ROUTE ask (INVOCATIONS_MODEL)"
    )
    aip_health_route: Annotated[str | None, AfterValidator(_is_path)] = Field(
        None, description="path that Vertex AI asks for readiness (AIP_HEALTH_ROUTE)"
    )
    aip_predict_route: Annotated[str | None, AfterValidator(_is_path)] = Field(
        None, description="path that Vertex AI posts instances to (AIP_PREDICT_ROUTE)"
    )
    api_keys_file: Path | None = Field(
        None, description="hashes and scopes of the keys; without it nobody needs one (API_KEYS_FILE)"
    )
    tls_certificate: FilePath | None = Field(
        None, description="PEM file of the certificate and its chain; with it, HTTPS only (TLS_CERTIFICATE)"
    )
    tls_key: Annotated[FilePath | None, AfterValidator(_are_both)] = Field(
        None, validate_default=True, description="PEM file of the certificate's private key (TLS_KEY)"
    )
    cors_origins: Annotated[str | None, AfterValidator(_are_origins)] = Field(
        None,
        description="web pages that may ask, such as https://a.example,https://b.example (CORS_ORIGINS)",
    )
    rate_limit: Annotated[str | None, AfterValidator(_is_rate)] = Field(
        None, description="requests of a key or address, such as 5000/minute;100/second (RATE_LIMIT)"
    )
    rate_limit_storage: Annotated[str, AfterValidator(_is_store)] = Field(
        "memory://",
        description="where requests are counted: in each process, or redis://host:6379 (RATE_LIMIT_STORAGE)",
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], BeforeValidator(lambda level: str(level).lower())
    ] = Field("info", description="what is logged at least (LOG_LEVEL)")

    @property
    def served(self) -> dict[str, ModelSpec]:
        """The declarations of the models that are served, in the order of `MODELS`."""
        return _served(self.models)

    @property
    def trusted(self) -> frozenset[str]:
        """The digests of the manifests that may load; empty if any may."""
        return frozenset() if self.trusted_digests == ANY else frozenset(self.trusted_digests.split(","))
