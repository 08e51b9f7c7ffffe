"""TLS by a certificate that is named: who is answered, and which files end the start."""

import shutil
import ssl
import warnings
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from servers import ROOT, Server, refusal

GATE = {"instances": [{"x1": 1, "x2": 1}]}


class Authority:
    """A certificate authority of its own, and the files of a server's certificate that it signed."""

    def __init__(self, home: Path) -> None:
        self._authority = trustme.CA()
        self.certificate, self.key = self._signed(home, "server")
        _, self.other_key = self._signed(home, "other")

    def _signed(self, home: Path, name: str) -> tuple[Path, Path]:
        signed = self._authority.issue_cert("127.0.0.1")
        certificate, key = home / f"{name}.pem", home / f"{name}.key"
        for part in signed.cert_chain_pems:
            part.write_to_path(certificate, append=True)
        signed.private_key_pem.write_to_path(key)
        return certificate, key

    def trusting(self, newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
        """What a client checks with that knows the authority."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.slow
def test_a_process_answers_over_tls_whoever_knows_its_authority(authority: Authority, tmp_path: Path) -> None:
    """The certificate is checked; large bodies pass both ways; browsers are told to come back by TLS only."""
    shutil.copytree(ROOT / "artifacts/and_gate", tmp_path / "and_gate")
    files = ["--tls-certificate", str(authority.certificate), "--tls-key", str(authority.key)]
    many = {"instances": GATE["instances"] * 20_000}
    with Server(*files, "--artifacts", str(tmp_path)) as server:
        assert server.url.startswith("https://")
        with httpx.Client(base_url=server.url, verify=authority.trusting(), timeout=30) as client:
            answers = [client.get("/health/live"), client.post("/models/and_gate/predict", json=GATE)]
            answers += [client.get("/nowhere"), client.post("/models/and_gate/predict", json=many)]
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(server.url)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            httpx.get(server.url.replace("https", "http"))
        with (
            warnings.catch_warnings(action="ignore", category=DeprecationWarning),
            pytest.raises(httpx.ConnectError),
        ):
            httpx.get(server.url, verify=authority.trusting(ssl.TLSVersion.TLSv1_1))
        assert server.stop() == 0

    assert [answer.status_code for answer in answers] == [200, 200, 404, 200]
    assert len(answers[-1].json()["predictions"]) == 20_000
    for answer in answers:
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("certificate", None, "error: tls_key: "),
        (None, "key", "error: tls_key: "),
        ("certificate", "other_key", "error: tls_certificate and tls_key "),
        ("key", "certificate", "error: tls_certificate and tls_key "),
        ("certificate", "nowhere", "error: tls_key: "),
        ("nowhere", "key", "error: tls_certificate: "),
    ],
)
def test_a_certificate_without_its_key_ends_the_start(
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    certificate: str | None,
    key: str | None,
    said: str,
) -> None:
    """One alone, another's, the wrong way round, or not there."""
    options = [
        f"--tls-{name}={getattr(authority, file, tmp_path / 'nowhere')}"
        for name, file in (("certificate", certificate), ("key", key))
        if file
    ]

    assert refusal(capsys, *options).startswith(said)


def test_a_key_with_a_password_ends_the_start(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenSSL would ask for it on a terminal, and a service has none."""
    key = load_pem_private_key(authority.key.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    (tmp_path / "locked.key").write_bytes(locked)
    options = ["--tls-certificate", str(authority.certificate), "--tls-key", str(tmp_path / "locked.key")]

    assert "without a password" in refusal(capsys, *options)
