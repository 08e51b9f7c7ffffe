"""Settings: option over environment over .env over default."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from servers import ROOT, client_of
from service.app import create_app
from service.settings import Settings


def test_defaults_listen_on_loopback_only() -> None:
    """Nobody else can reach a service that was just tried out."""
    settings = Settings()

    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)


def test_an_option_outranks_the_environment_and_that_outranks_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way of setting has its rank."""
    (tmp_path / ".env").write_text("PORT=1111\nWORKERS=2\nDEVICE=cpu\nSOMEBODY_ELSES=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "2222")
    monkeypatch.setenv("WORKERS", "3")

    settings = Settings(_cli_parse_args=["--port", "3333"])

    assert (settings.port, settings.workers, settings.device) == (3333, 3, "cpu")


@pytest.mark.parametrize("option", ["--port=x", "--device=tpu", "--unknown=1", "--workers=0"])
def test_a_wrong_setting_is_refused(option: str) -> None:
    """A misspelt option must not be ignored."""
    with pytest.raises((SystemExit, ValueError)):
        Settings(_cli_parse_args=[option])


def test_an_empty_line_of_the_environment_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PORT=` in a file that somebody prepared means the default, and LOG_LEVEL=INFO is info."""
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("LOG_LEVEL", "INFO")

    assert (Settings().port, Settings().log_level) == (8000, "info")


@pytest.mark.anyio
async def test_models_says_what_is_served() -> None:
    """What is not served is not loaded, documented, answered, or missed by readiness."""
    settings = Settings(
        _cli_parse_args=["--models", "survival, and_gate", "--artifacts", str(ROOT / "artifacts")]
    )
    async with client_of(create_app(settings)) as client:
        models = (await client.get("/models")).json()["models"]
        other = await client.get("/models/wine_type")
        paths = (await client.get("/openapi.json")).json()["paths"]

        assert [model["name"] for model in models] == ["and_gate", "survival"]
        assert (await client.get("/health/ready")).status_code == 200
        assert (other.status_code, "and_gate, survival" in other.json()["detail"]) == (404, True)
        assert "/models/survival/predict" in paths
        assert not any("wine" in path for path in paths)


@pytest.mark.parametrize("wrong", ["", "horse", "survival,horse", "all,survival", "survival;and_gate"])
def test_what_is_no_model_ends_the_start(wrong: str) -> None:
    """With what to give, without repeating it."""
    with pytest.raises(
        ValidationError, match="give all, or models with commas between: and_gate, "
    ) as refusal:
        Settings(models=wrong)
    assert "horse" not in refusal.value.errors()[0]["msg"]


def test_the_model_of_invocations_is_one_that_is_served() -> None:
    """Another would answer nobody."""
    with pytest.raises(ValueError, match=r"one of the models that are served: and_gate, survival \["):
        Settings(models="survival,and_gate", invocations_model="wine_type")


def test_trusted_digests_are_a_list_with_commas_and_any_by_default() -> None:
    """Spaces and capitals, as other programs print them, are understood."""
    one, other = "0a" * 32, "ff" * 32

    assert Settings().trusted == frozenset()
    assert Settings(_cli_parse_args=["--trusted-digests", f"{one}, {other.upper()}"]).trusted == {one, other}


@pytest.mark.parametrize(
    "wrong", ["abc", "0a" * 31, "0g" * 32, f"{'0a' * 32};{'0a' * 32}", f"any,{'0a' * 32}"]
)
def test_what_is_no_digest_ends_the_start(wrong: str) -> None:
    """With its name and what to give, without repeating it."""
    ran = subprocess.run(
        [sys.executable, "-m", "service", "--trusted-digests", wrong],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 2
    assert ran.stderr.startswith("error: trusted_digests: ")
    assert "python -m service check" in ran.stderr
    assert wrong not in ran.stderr
