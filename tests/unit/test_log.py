import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import log as logs
from sidecar.log import Format, Level

log = logs.get_logger("sidecar.test_log")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    raising = logging.raiseExceptions
    yield
    logs.set_secrets(())
    ours = logging.getLogger("backrest_sidecar")
    for handler in list(ours.handlers):
        ours.removeHandler(handler)
    ours.propagate = True
    ours.setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    logging.raiseExceptions = raising


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def configured(style: Format = "json", level: Level = "info") -> io.StringIO:
    out = io.StringIO()
    logs.configure(style, level, out)
    return out


def test_one_json_object_a_line() -> None:
    out = configured()
    log.info("plan.skipped", container="web", count=2, dry=False, paths=("/a", "/b"), nothing=None)
    (event,) = lines(out)
    time = event.pop("time")
    assert isinstance(time, str)
    assert len(time) == len("2026-01-31T02:00:00.000Z")
    assert time.endswith("Z")
    assert list(event.items()) == [
        ("level", "info"),
        ("action", "plan.skipped"),
        ("container", "web"),
        ("count", 2),
        ("dry", False),
        ("paths", ["/a", "/b"]),
        ("nothing", None),
    ]


@pytest.mark.parametrize(
    ("level", "said"), [("debug", "diwe"), ("info", "iwe"), ("warn", "we"), ("error", "e")]
)
def test_levels(level: Level, said: str) -> None:
    out = configured(level=level)
    log.debug("d")
    log.info("i")
    log.warn("w")
    log.error("e")
    assert "".join(str(event["action"]) for event in lines(out)) == said
    names = {"d": "debug", "i": "info", "w": "warn", "e": "error"}
    assert [event["level"] for event in lines(out)] == [names[letter] for letter in said]


def test_text_is_one_line_for_people() -> None:
    out = configured("text")
    log.warn("plan.skipped", container="web", reason='no "path" here', count=3, empty="", items=["a"])
    time, rest = out.getvalue().rstrip("\n").split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'warn  plan.skipped container=web reason="no \\"path\\" here" count=3 empty="" items=["a"]'


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_value_can_forge_a_line_or_move_the_cursor(style: Format) -> None:
    out = configured(style)
    log.info("x\n{}", evil='a\n{"level":"error"}\r\x1b[2J\x00\u2028\u202e', **{"k\ny": "v"})
    text = out.getvalue()
    assert text.count("\n") == 1
    assert not set("\r\x1b\x00") & set(text)
    if style == "text":
        assert not set("\u2028\u202e") & set(text)


def test_any_value_can_be_logged() -> None:
    out = configured()
    log.info(
        "odd",
        big=2**70,
        nan=float("nan"),
        path=Path("/a"),
        data=b"\xff",
        names={"b", "a"},
        nested={1: {"x": [Path("/b")]}},
        surrogate="file\udcff",
        obj=object,
        action="twice",
        time="late",
    )
    (event,) = lines(out)
    assert event["big"] == str(2**70)
    assert event["nan"] is None
    assert event["path"] == "/a"
    assert event["data"] == "\\xff"
    assert event["names"] == ["a", "b"]
    assert event["nested"] == {"1": {"x": ["/b"]}}
    assert event["surrogate"] == "file\\udcff"
    assert (event["action"], event["action_"], event["time_"]) == ("odd", "twice", "late")


def test_a_long_value_is_cut_and_says_so() -> None:
    out = configured()
    log.info("long", text="x" * 70_000)
    (event,) = lines(out)
    assert str(event["text"]).endswith("x… (70000 characters)")
    assert len(str(event["text"])) < 17_000


@pytest.mark.parametrize("level", ["info", "debug"])
def test_an_exception_is_one_line_and_its_traceback_only_at_debug(level: Level) -> None:
    out = configured(level=level)
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        log.error("failed", error=error)
    (event,) = lines(out)
    assert event["error"] == "ValueError: first second"
    assert ("traceback" in event) == (level == "debug")


@pytest.mark.parametrize("style", ["json", "text"])
def test_secrets_are_masked_wherever_they_stand(style: Format) -> None:
    secret = 'p"ss\\wörd with space'
    out = configured(style, "debug")
    logs.set_secrets([secret, "first line\nsecond line", "12345678", "abc"])
    try:
        raise RuntimeError(f"bad: {secret}")
    except RuntimeError as error:
        log.error(
            f"say {secret}",
            error=error,
            text=f"x{secret}y",
            nested={"k": [secret], secret: 1},
            quoted=json.dumps(secret),
            repeated=repr(secret),
            url="https://u:p%22ss%5Cw%C3%B6rd%20with%20space@host",
            second="second line",
            number=12345678,
            short="abc",
        )
    text = out.getvalue()
    for part in ("ss\\w", "wörd", "w\\u00f6rd", "w%C3", "second line", "12345678"):
        assert part not in text
    assert "x***y" in text
    assert "abc" in text


def test_the_longer_secret_wins_and_new_secrets_replace_the_old() -> None:
    out = configured()
    logs.set_secrets(["hunter2", "hunter2-and-more"])
    log.info("a", text="hunter2-and-more")
    logs.set_secrets(["other"])
    log.info("b", text="hunter2")
    assert [event["text"] for event in lines(out)] == ["***", "hunter2"]


class Gone(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "gone"), OSError(28, "full"), ValueError("closed")])
def test_a_stream_that_fails_stops_nobody(error: Exception) -> None:
    stream = Gone(error)
    logs.configure("json", "info", stream)
    log.info("said into the void")
    log.info("and again")
    logs.flush()


def test_a_reader_that_went_away_does_not_change_the_exit_code() -> None:
    script = (
        "import sys\n"
        "from sidecar import log\n"
        "log.configure('json', 'info')\n"
        "say = log.get_logger('x')\n"
        "sys.stdin.readline()\n"
        "for n in range(1000): say.info('line', n=n)\n"
        "raise SystemExit(7)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), stderr) == (7, b"")


def test_libraries_and_warnings_stay_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    out = configured()
    logging.getLogger("urllib3.connectionpool").error("Retrying, with a secret in the URL")
    logging.getLogger("docker.utils").critical("loud")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logs.configure("json", "info", out)
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    captured = capfd.readouterr()
    assert (out.getvalue(), captured.out, captured.err) == ("", "", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_only_on_a_terminal_and_unless_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    styles: tuple[tuple[Format, bool], ...] = (("text", True), ("json", False))
    for style, coloured in styles:
        out = Terminal()
        logs.configure(style, "info", out)
        log.info("hello")
        assert ("\x1b[" in out.getvalue()) == coloured
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    logs.configure("text", "info", out)
    log.info("hello")
    assert "\x1b[" not in out.getvalue()
