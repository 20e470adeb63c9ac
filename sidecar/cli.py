"""The command line: flags become Settings, a command becomes an exit code.

Click, because it is the field's standard and does help, completion and errors; its options are made from
``flags.FLAGS``. Two habits of the Go tool's users are kept: a switch may be written ``--apply=false``, and flags
may stand before the command. Heavy imports happen in the command that needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from sidecar import __version__
from sidecar.exit_codes import ExitCode
from sidecar.settings.flags import COMMANDS, FLAGS, Flag, flags_for

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_SHORT = {
    "reconcile": "One pass: bring config.json up to date with the labels.",
    "backup-once": "Stop labelled containers, back up once, start them.",
    "recover": "Start what an interrupted run had stopped.",
    "explain": "Why is a container backed up, or not, and how?",
    "lint": "Check labels in Compose files, without an engine.",
    "restore-config": "Put a kept config.json back.",
}
"""What the list of commands says, where the first sentence of the help is too long for it."""

_SWITCHES = {f"--{flag.name}": flag for flag in FLAGS if flag.is_switch}
_FILES = {"config", "state-dir", "docker-sock", "rcb-env-file", "backrest-password-file"}
_VALUED = {f"--{flag.name}" for flag in FLAGS if not flag.is_switch}


def run(argv: Sequence[str]) -> int:
    """Run one command; return its exit code and never raise for a bad flag."""
    try:
        args = _normalize(argv)
        if args[0] == "healthcheck":
            return _healthcheck(args[1:])
        result = _build().main(args=args, prog_name="backrest-sidecar", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return ExitCode.FAILED
    except click.ClickException as error:
        _hinted(error).show(file=sys.stderr)
        return ExitCode.BAD_USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001  # Python's own exit code for a traceback is 1, which means bad usage
        from sidecar import log

        log.get_logger(__name__).error(
            "command.failed", error=error, advice="this is a fault: please report it"
        )
        return ExitCode.FAILED
    return int(result or 0)


def _hinted(error: click.ClickException) -> click.ClickException:
    """Return the error, or for an option that is unknown only here one that says where it is known."""
    if not isinstance(error, click.NoSuchOption):
        return error
    name = error.option_name.removeprefix("--").removeprefix("no-")
    known = next((flag for flag in FLAGS if flag.name == name and not flag.hidden), None)
    if known is None:
        return error
    where = ", ".join(command for command in COMMANDS if command in known.commands)
    return click.UsageError(f"No such option {error.option_name!r} here; it belongs to: {where}.", error.ctx)


def _check_command(command: str) -> None:
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}"
        raise click.UsageError(f"No such command {command[:60]!r}; {hint}")


def _normalize(argv: Sequence[str]) -> list[str]:
    """Put the command first, ``reconcile`` where none is given, and spell switches as click wants them."""
    args: list[str] = []
    command = ""
    wants_value = False
    literal = False
    before = ""
    for token in argv:
        before, last = token, before
        if wants_value or literal:
            wants_value = False
            args.append(token)
            continue
        name, equals, value = token.partition("=")
        literal = token == "--"  # noqa: S105  # the end of options, no password
        if last in _SWITCHES and token.lower() in {"true", "false"}:
            raise click.UsageError(f"A switch takes its value with an equals sign: {last}={token}")
        if not token.startswith("-") and not command:
            command = token
            _check_command(command)
            continue
        if name in _SWITCHES and equals:
            try:
                on = _SWITCHES[name].parse(value)
            except ValueError as error:
                raise click.UsageError(f'{name} "{value}" {error}') from error
            args.append(name if on else f"--no-{name[2:]}")
            continue
        wants_value = name in _VALUED and not equals
        args.append(token)
    if not command and args[:1] in (["--help"], ["-h"], ["--version"]):
        return args
    return [command or "reconcile", *args]


def _option(flag: Flag) -> click.Option:
    text = flag.help
    if flag.default not in {None, "", "false"}:
        text += f"  [default: {flag.default}]"
    if flag.env:
        text += f"  [env: {flag.env}]"
    if flag.is_switch:
        names = [f"--{flag.name}/--no-{flag.name}"]
        return click.Option(names, default=None, help=text, hidden=flag.hidden)
    return click.Option(
        [f"--{flag.name}"],
        default=None,
        help=text,
        multiple=flag.many,
        hidden=flag.hidden,
        metavar="VALUE",
        shell_complete=_completer(flag),
    )


def _completer(flag: Flag) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """Return what completes a flag's value in a shell: its words, or the names of files."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        if flag.name in _FILES:
            return [CompletionItem(begun, type="dir" if flag.name == "state-dir" else "file")]
        words = getattr(flag.parse, "words", ())
        return [CompletionItem(word) for word in words if word.startswith(begun.lower())]

    return complete


Body = Callable[..., int]


class _Command(click.Command):
    """A command whose options from ``flags.FLAGS`` are made when it is the one that runs: there are some 180."""

    def __init__(self, name: str, flags: Sequence[Flag], **more: Any) -> None:
        super().__init__(name, **more)
        self._flags = flags

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, those of the flags among them."""
        flags, self._flags = self._flags, ()
        self.params += map(_option, flags)
        return super().get_params(ctx)


def _command(
    name: str, body: Body, text: str, extra: Sequence[click.Parameter] = (), *, raw: bool = False
) -> click.Command:
    def callback(**given: Any) -> int:
        own = {parameter.name: given.pop(parameter.name or "") for parameter in extra}
        if raw:
            return body(**own)
        from sidecar.settings.settings import SettingsError, resolve

        by_flag = {flag.name: given.get(flag.field) for flag in flags_for(name)}
        try:
            settings = resolve(name, by_flag, os.environ)
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        from sidecar import log

        log.configure(settings.log_format, settings.log_level)
        return body(settings, **own)

    return _Command(
        name,
        () if raw else flags_for(name),
        callback=callback,
        params=list(extra),
        help=text,
        short_help=_SHORT.get(name),
        context_settings=_CONTEXT,
    )


def _lazy(module: str, function: str) -> Body:
    def body(*args: Any, **kwargs: Any) -> int:
        from importlib import import_module

        return int(getattr(import_module(module), function)(*args, **kwargs))

    return body


def _version() -> int:
    click.echo(f"backrest-sidecar {__version__}")
    return ExitCode.CHANGED


def _build() -> click.Group:
    """Return the whole command line."""
    json_flag = click.Option(["--json", "as_json"], is_flag=True, help="for programs")
    containers = click.Argument(["containers"], nargs=-1)
    lint_options = [
        click.Argument(["files"], nargs=-1, required=True, type=click.Path()),
        click.Option(["--format", "fmt"], default="text", type=click.Choice(["text", "json", "github"])),
        click.Option(["--separate"], is_flag=True, help="each Compose file is a project of its own"),
        *map(_option, flags_for("lint")),
    ]
    group = click.Group(
        name="backrest-sidecar",
        help="Labels on containers become backup plans in Backrest. Without a command: reconcile.",
        epilog="The flags of a command: backrest-sidecar COMMAND --help. Exit codes: 0 done, 1 bad usage, "
        "2 nothing to change or a dry run, 3 failure.",
        context_settings=_CONTEXT,
        commands={
            "reconcile": _command(
                "reconcile",
                _lazy("sidecar.commands.reconcile", "reconcile"),
                "One pass: render plans from labels and bring config.json up to date. "
                "Exit 0: changed. 2: nothing to change, or a dry run. 1: bad usage. 3: failure.",
            ),
            "daemon": _command(
                "daemon",
                _lazy("sidecar.commands.daemon", "daemon"),
                "Keep config.json up to date until told to stop.",
            ),
            "backup-once": _command(
                "backup-once",
                _lazy("sidecar.commands.backup_once", "backup_once"),
                "Quiesce labelled containers, run one backup, apply retention, bring everything back.",
            ),
            "recover": _command(
                "recover",
                _lazy("sidecar.commands.backup_once", "recover"),
                "Start what an interrupted run had stopped, Backrest included. Touches nothing else.",
            ),
            "explain": _command(
                "explain",
                _lazy("sidecar.explain.command", "explain"),
                "Why is a container backed up, or not, and how? Reads only.",
                [
                    containers,
                    json_flag,
                    click.Option(["--all-nodes"], is_flag=True, help="over every node of the swarm"),
                    click.Option(
                        ["--host", "hosts"], multiple=True, help="a further engine; may be repeated"
                    ),
                ],
            ),
            "lint": _command(
                "lint",
                _lazy("sidecar.lint.command", "lint"),
                "Check labels in Compose files or docker inspect output (- for standard input), without an engine. "
                "Exit 0: clean. 3: findings.",
                lint_options,
                raw=True,
            ),
            "status": _command(
                "status", _lazy("sidecar.status.show", "status"), "What the daemon is doing.", [json_flag]
            ),
            "restore-config": _command(
                "restore-config",
                _lazy("sidecar.commands.restore_config", "restore_config"),
                "Put a kept config.json back, the newest or the one of TIME, by the same safe apply.",
                [
                    click.Argument(["version"], required=False, metavar="[TIME]"),
                    click.Option(["--list", "list_only"], is_flag=True, help="show what is kept"),
                ],
            ),
            "healthcheck": _command(
                "healthcheck", _healthcheck, "Is the daemon healthy? For HEALTHCHECK. Exit 0 or 1.", raw=True
            ),
            "version": _command("version", _version, "Print the version.", raw=True),
            "completion": _command(
                "completion",
                _completion,
                "Print the completion script of a shell.",
                [click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
                raw=True,
            ),
        },
    )
    group.params.append(
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="print it",
        )
    )
    assert set(group.commands) == set(COMMANDS)  # noqa: S101  # the table in flags.py is the README's source
    return group


def _print_version(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        _version()
        context.exit(ExitCode.CHANGED)


def _healthcheck(argv: Sequence[str] = ()) -> int:
    from sidecar.status.healthcheck import main

    return main(argv)


def _completion(shell: str) -> int:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(_build(), {}, "backrest-sidecar", "_BACKREST_SIDECAR_COMPLETE").source())
    return ExitCode.CHANGED
