"""Dataclass <-> command-line flags <-> flag file; the only room that knows absl.

Flows in: argv. Flows out: config objects. A command line is `flags.run(main, SomeConfig, OtherConfig)`; each field is
a flag of the same name. `--flagfile=FILE` reads flags from a file, one a line, `#` for comments; a name without a
folder is also looked for beside the including file and among the recipes that come with ptxtf, so that recipes can
build on one another. A later flag wins.
"""

import dataclasses
import importlib
import io
import os
import pathlib
import re
import sys
import tempfile
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from ptxtf import files
from ptxtf.errors import InputError

RECIPES = pathlib.Path(__file__).parent / "recipes"


def run(main: Callable[..., None], *configs: type, arguments: str = "", tensorflow: bool = True) -> None:
    """Run a command line: parse `sys.argv`, call `main`, and make one clear line of any `InputError`.

    Args:
        main: called with one instance of each of `configs`, then, if `arguments` is given, the list of what stands on
            the command line beside the flags. Its module's docstring is the head of --help.
        *configs: dataclasses of `ptxtf.config`.
        arguments: what the positional arguments are, for --help; empty: none are allowed.
        tensorflow: whether `main` needs TensorFlow, which is then imported without its start-up messages.

    Exits with 0 when `main` returns, 2 on an `InputError` or a path that cannot be read or written, 130 when
    interrupted.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    module = sys.modules[main.__module__]
    name = module.__spec__.name if module.__spec__ else pathlib.Path(sys.argv[0]).name
    if {"--help", "-h", "--helpfull"} & set(sys.argv[1:]):
        print(help_text(f"python -m {name}", module.__doc__ or "", configs, arguments))
        sys.exit(0)
    try:
        if any("://" in argument for argument in sys.argv[1:]):
            _import_tensorflow()  # a remote flag file is opened by it
        instances, rest = parse(sys.argv[1:], *configs)
        if rest and not arguments:
            raise InputError(f"expected flags only. Received: {rest[0]!r}")
        if tensorflow:
            _import_tensorflow()
        main(*instances, *([rest] if arguments else []))
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        what = f"{os.fsdecode(error.filename)}: expected a path" if error.filename else "expected a disk and a system"
        print(f"{name}: {what} that can be used. Received: {error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: stopped; what was finished is kept", file=sys.stderr)
        sys.exit(130)


def parse(argv: Sequence[str], *configs: type) -> tuple[list[Any], list[str]]:
    """Return one instance of each config, and the arguments that are no flags.

    Args:
        argv: arguments without the program's name.
        *configs: dataclasses whose fields are the flags.

    Raises:
        InputError: an unknown flag, a value of the wrong kind or range, a missing required flag, an unreadable flag
            file. The line names the flag, and the file and line where it stands.
    """
    values = absl_flags.FlagValues()
    for field in {field.name: field for config in configs for field in dataclasses.fields(config)}.values():
        _define(field, values)
    tokens = list(_expand(argv, origin="command line", seen=()))
    origins = {token.lstrip("-").split("=")[0]: origin for token, origin in tokens if token.startswith("-")}
    try:
        if "undefok" in origins:  # absl's own, which would let unknown flags pass
            raise absl_flags.UnrecognizedFlagError("undefok")
        rest = values(["", *(token for token, _ in tokens)])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        raise InputError(
            f"{origins.get(error.flagname, 'command line')}: expected a known flag (see --help). "
            f"Received: --{error.flagname}"
        ) from None
    except absl_flags.Error as error:
        raise InputError(_explain(str(error), origins)) from None
    except ValueError as error:  # absl's, of --noflag=value
        raise InputError(f"command line: expected --flag=value. Received: {error}") from None
    return [_instance(config, values) for config in configs], rest


def _explain(message: str, origins: Mapping[str, str]) -> str:
    """Turn absl's "flag --name=value: reason" into our form; the reason is our parser's, or that of absl's own bool."""
    match = re.fullmatch(r"flag --(\w+)=(.*?): (.*)", message, flags=re.DOTALL)
    if not match:
        return message
    name, value, reason = match.groups()
    expected = reason if reason.startswith("expected") else "expected true or false"
    return f"{origins.get(name, 'command line')}: {expected}. Received: --{name}={value}"


def to_flagfile(*instances: Any) -> str:
    """Return the text of a flag file that makes these very instances again."""
    lines = []
    for instance in instances:
        lines.append(f"# {(type(instance).__doc__ or '').splitlines()[0]}")
        lines += [f"--{field.name}={to_text(getattr(instance, field.name))}" for field in dataclasses.fields(instance)]
    return "\n".join(lines) + "\n"


def help_text(command: str, doc: str, configs: Sequence[type], arguments: str = "") -> str:
    """Return what --help prints: the module's docstring, then each stage's flags with default and meaning."""
    usage = f"usage: {command} [--flag=value …] [--flagfile=FILE] {arguments}".rstrip()
    lines = [usage, "", doc.strip(), ""]
    for config in configs:
        lines.append(f"{(config.__doc__ or '').strip()}")
        for field in dataclasses.fields(config):
            default = (
                "required" if field.default is dataclasses.MISSING else f"default: {to_text(field.default) or 'empty'}"
            )
            choices = "|".join(map(str, typing.get_args(field.type))) if _is_choice(field.type) else ""
            head = f"  --{field.name}" + (f"={choices}" if choices else "")
            body = f"{field.metadata['help']} ({default})"
            lines.append(head)
            lines.extend(textwrap.wrap(body, 100, initial_indent=" " * 8, subsequent_indent=" " * 8))
        lines.append("")
    return "\n".join(lines).rstrip()


def _import_tensorflow() -> None:
    """Import TensorFlow and find its devices without the messages that no setting of its own keeps back.

    Whoever sets TF_CPP_MIN_LOG_LEVEL gets what that level lets through. Where the import fails, everything is shown.

    oneDNN is on unless TF_ENABLE_ONEDNN_OPTS says otherwise. TensorFlow by itself leaves it off on x86 processors
    without AVX-512, where it saves a quarter of a training step too.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            importlib.import_module("tensorflow").config.list_physical_devices()
        except Exception:
            messages.seek(0)
            os.write(terminal, messages.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # which is read once; commands that this one calls do the same


def _expand(argv: Sequence[str], *, origin: str, seen: tuple[files.Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield (argument, where it stands), with every flag file replaced by its lines."""
    rest = iter(argv)
    for token in rest:
        if not token.startswith("-") or token.lstrip("-").partition("=")[0] != "flagfile":
            yield token, origin
            continue
        name = token.partition("=")[2] if "=" in token else next(rest, "")
        path = _find(name, origin=origin, seen=seen)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{path}: expected a flag file in UTF-8. Received: other bytes") from None
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield from _expand([text], origin=f"{path}:{number}", seen=(*seen, path))


def _find(name: str, *, origin: str, seen: tuple[files.Path, ...]) -> files.Path:
    """Return the flag file `name`: as given, beside the file that includes it, or among the recipes."""
    given = files.path(name)
    folders = [] if given.is_absolute() else [*(path.parent for path in seen[-1:]), RECIPES]
    for path in (given, *(folder / name for folder in folders)):
        if path.is_file():
            if path.resolve() in [earlier.resolve() for earlier in seen]:
                raise InputError(
                    f"{origin}: expected flag files that do not include themselves. Received: --flagfile={name}"
                )
            return path
    raise InputError(
        f"{origin}: expected a flag file, or one of the recipes "
        f"{', '.join(sorted(path.name for path in RECIPES.glob('*.flags')))}. Received: --flagfile={name}"
    )


def _define(field: dataclasses.Field, values: absl_flags.FlagValues) -> None:
    """Make a flag of a field; its default stays with the dataclass, so a flag that was not given is None."""
    text = field.metadata["help"]
    if field.type is bool:
        absl_flags.DEFINE_boolean(field.name, None, text, values)
    else:
        absl_flags.DEFINE(_Parser(field.type), field.name, None, text, values)


def _instance(config: type, values: absl_flags.FlagValues) -> Any:
    """Build one config from the flags that were given; the others keep the dataclass's defaults."""
    given = {
        field.name: values[field.name].value
        for field in dataclasses.fields(config)
        if values[field.name].value is not None
    }
    for field in dataclasses.fields(config):
        if field.default is dataclasses.MISSING and field.name not in given:
            raise InputError(f"expected --{field.name}: {field.metadata['help']}. Received: none")
    try:
        return config(**given)
    except ValueError as error:
        raise InputError(str(error)) from None


def _is_choice(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Literal


def to_text(value: Any) -> str:
    """Return a value as it stands behind `--flag=`."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Parser(absl_flags.ArgumentParser):
    """Text to a value of a dataclass field's type: a number, text, a choice, or numbers with commas."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def parse(self, argument: Any) -> Any:
        if _is_choice(self._kind):
            choices = typing.get_args(self._kind)
            if argument not in choices:
                raise ValueError(f"expected one of {', '.join(choices)}")
            return argument
        if typing.get_origin(self._kind) is tuple:
            item = typing.get_args(self._kind)[0]
            return tuple(_number(item, part) for part in str(argument).split(",") if argument != "")
        return str(argument) if self._kind is str else _number(self._kind, argument)

    def flag_type(self) -> str:
        return str(self._kind)


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"expected {'a whole number' if kind is int else 'a number'}") from None
