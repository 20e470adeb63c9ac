"""The adapter on an engine behind TLS with client certificates, by the usual variables."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.engine.client import Engine, EngineError
from tests.engine.harness import TestEngine
from tests.waiting import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl"),
]


def openssl(folder: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path, name: str) -> Path:
    """Make an authority, a server's and a client's certificate; return the client's folder."""
    made, client = folder / name, folder / f"{name}-client"
    made.mkdir()
    client.mkdir()
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(made, *new, "-x509", "-subj", f"/CN={name}", "-keyout", "ca-key.pem", "-out", "ca.pem")
    for who, use in (("server", "serverAuth"), ("client", "clientAuth")):
        (made / "ext").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={use}\n")
        openssl(made, *new[:4], "-subj", f"/CN={who}", "-keyout", f"{who}-key.pem", "-out", "csr.pem")
        signing = (
            "x509",
            "-req",
            "-in",
            "csr.pem",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca-key.pem",
            "-CAcreateserial",
        )
        openssl(made, *signing, "-days", "2", "-extfile", "ext", "-out", f"{who}.pem")
    shutil.copy(made / "ca.pem", client / "ca.pem")
    shutil.copy(made / "client.pem", client / "cert.pem")
    shutil.copy(made / "client-key.pem", client / "key.pem")
    return client


@pytest.fixture
def tls_engine(can_run_engine: None, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Give address and client certificates of an engine on tcp://."""
    client = certificates(tmp_path, "good")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = tmp_path / "good"
    options = [
        f"--host=tcp://127.0.0.1:{port}",
        "--tlsverify",
        f"--tlscacert={made / 'ca.pem'}",
        f"--tlscert={made / 'server.pem'}",
        f"--tlskey={made / 'server-key.pem'}",
    ]
    with TestEngine(options, keep_network=True):
        yield f"tcp://127.0.0.1:{port}", client


def environ(folder: Path) -> dict[str, str]:
    return {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}


def test_client_certificates_open_the_engine_and_others_do_not(
    tls_engine: tuple[str, Path], tmp_path: Path
) -> None:
    host, client = tls_engine
    good = Engine(host, environ=environ(client))
    eventually(lambda: good.snapshot().engine_id)
    window = good.events("", 30.0)
    window.close()
    assert list(window) == []

    with pytest.raises(EngineError) as wrong:
        Engine(host, environ=environ(certificates(tmp_path, "other"))).snapshot()
    with pytest.raises(EngineError) as plain:
        Engine(host, environ={}).snapshot()

    assert wrong.value.kind == "denied"
    assert "DOCKER_CERT_PATH" in wrong.value.advice
    assert plain.value.kind == "protocol"
    assert "TLS" in plain.value.advice
    good.close()
