"""Env files as docker reads them, and what of them is a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.backup.env_file import LARGEST, EnvFileError, parse, read, secrets


@pytest.mark.parametrize(
    ("raw", "variables"),
    [
        (b"", {}),
        (b"A=1\nB=2", {"A": "1", "B": "2"}),
        (b"A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        (b"\xef\xbb\xbfA=1\n", {"A": "1"}),
        (b"# A=1\n   # B=2\n\n\t\n", {}),
        (b"  A=1", {"A": "1"}),
        (b"A= spaces stay # and this too ", {"A": " spaces stay # and this too "}),
        (b"A=\"quotes stay\"\nB='these'", {"A": '"quotes stay"', "B": "'these'"}),
        (b"A=x=y=z", {"A": "x=y=z"}),
        (b"A=", {"A": ""}),
        (b"A=1\nA=2", {"A": "2"}),
        (b"HOME", {"HOME": "/root"}),
        (b"HOME  \nNOT_THERE", {"HOME": "/root"}),
        ("A=pässword".encode(), {"A": "pässword"}),
    ],
)
def test_it_is_read_as_docker_reads_it(raw: bytes, variables: dict[str, str]) -> None:
    assert parse(raw, {"HOME": "/root"}, where="x") == variables


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"A=1\n=secret", "line 2: there is no name"),
        (b"export A=secret", "line 1: a blank in the name"),
        (b"A B=secret", "line 1: a blank"),
        (b"A=\xffsecret", "line 1: not UTF-8"),
        (b"A=a\0secret", "line 1: a NUL"),
    ],
)
def test_what_docker_refuses_is_refused_without_a_word_of_the_value(raw: bytes, reason: str) -> None:
    with pytest.raises(EnvFileError) as caught:
        parse(raw, {}, where="/etc/rcb.env")
    assert f"/etc/rcb.env, {reason}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_env_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvFileError, match="--rcb-env-file"):
        read(tmp_path / "missing", {})
    with pytest.raises(EnvFileError, match="cannot be read"):
        read(tmp_path, {})
    (tmp_path / "big").write_bytes(b"A" * (LARGEST + 1))
    with pytest.raises(EnvFileError, match="1 MiB"):
        read(tmp_path / "big", {})


def test_every_value_is_secret_but_known_settings_and_plain_words() -> None:
    variables = {
        "RESTIC_PASSWORD": "correct horse",
        "RESTIC_REPOSITORY": "rest:https://me:p%40ss@host/repo",
        "AWS_SECRET_ACCESS_KEY": "abc/def",
        "ODD_ONE": "hidden",
        "LOG_LEVEL": "debug",
        "KEEP_DAILY": "14",
        "SOME_FLAG": "true",
        "PORT": "8080",
        "EMPTY": "",
    }
    assert set(secrets(variables)) == {"correct horse", "p%40ss", "p@ss", "me", "abc/def", "hidden"}


@pytest.mark.parametrize(
    "repository", ["/repo", "sftp:user@host:/srv", "s3:https://s3.example/bucket", "b2:x:y"]
)
def test_an_address_without_a_password_is_no_secret(repository: str) -> None:
    assert secrets({"RESTIC_REPOSITORY": repository}) == ()
