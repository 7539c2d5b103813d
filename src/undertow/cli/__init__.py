"""The command line: each command parses, calls one function and prints."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final

from undertow.allocator import keep_freed_memory

__all__ = ["main", "run"]

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


_PLACES: Final = frozenset({
    errno.EACCES, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
    errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS,
})  # fmt: skip
"""What is wrong with a place that was given, not with the machine."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``undertow`` and leave with its exit code.

    0: everything asked for was done. 1: something failed on the way. 2: bad usage or bad input.
    130: interrupted.
    """
    warnings.showwarning = _warn
    # Threads of torch that wait for work would otherwise spin on the cores that ours need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    code = run(sys.argv[1:] if arguments is None else arguments)
    if code == INTERRUPTED:
        # Reads that the interrupt cut off still hang in zarr's threads, and an orderly shutdown has
        # each of them complain. Whatever must be let go of was let go of on the way here.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are one or two lines, no traceback."""
    from undertow.cli.logs import end

    code = 1
    try:
        code = _run(arguments)
    finally:
        end(code)
    if code == INTERRUPTED:
        print("undertow: interrupted; what was finished is kept", file=sys.stderr)
    return code


def _run(arguments: Sequence[str]) -> int:
    import typer

    from undertow.cli.app import app
    from undertow.cli.logs import LOG
    from undertow.errors import UndertowError

    try:
        code = app(list(arguments), standalone_mode=False)
    except UndertowError as problem:
        LOG.debug("where it was raised", exc_info=True)
        print(f"undertow: {problem}", file=sys.stderr)
        return problem.exit_code
    except typer.Exit as leave:
        return leave.exit_code
    except typer.TyperException as problem:
        print(f"undertow: {_usage(problem)}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (Exception, SystemExit) as problem:
        told = _told(problem)
        if told is None and isinstance(problem, SystemExit):  # completion leaves so
            return problem.code if isinstance(problem.code, int) else 0
        LOG.error("where it was raised", exc_info=True)
        if told is None:
            raise
        return told
    return code if isinstance(code, int) else 0


def _told(problem: BaseException) -> int | None:
    """The exit code of what went wrong beneath us, once it is told; ``None``: it is our fault."""
    from undertow.loading import culprit

    if where := culprit(problem):
        why = " ".join(str(problem).split())[:300]
        print(f"undertow: {where}: {type(problem).__name__}: {why}", file=sys.stderr)
        return 2
    if type(problem).__name__ == "ValidationError":  # pydantic's, which takes long to import
        first = problem.errors()[0]  # type: ignore[attr-defined]
        key = ".".join(str(part) for part in first["loc"])
        reason = str(first["msg"]).removeprefix("Value error, ")
        print(f"undertow: {key}: {reason}, got {str(first['input'])[:80]}", file=sys.stderr)
        return 2
    if isinstance(problem, OSError):
        from undertow.errors import shown

        named = f" ({shown(str(problem.filename), 200)})" if problem.filename else ""
        print(f"undertow: {problem.strerror or problem}{named}", file=sys.stderr)
        return 2 if problem.errno in _PLACES else 1
    return None


def _usage(problem: Exception) -> str:
    """What was wrong with a command line, and where help is."""
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else "undertow"
    words = getattr(problem, "format_message", lambda: str(problem))()
    words += _meant(str(getattr(problem, "option_name", "") or ""), context)
    return f"{words.rstrip('.')}; see: {path} --help" if words else f"see: {path} --help"


def _meant(option: str, context: Any) -> str:
    """Where an unknown option is the name of an attack's setting, how to give it."""
    takes = [p.name for p in context.command.params] if context is not None else []
    name = option.lstrip("-").partition("=")[0].replace("-", "_")
    if not name or "set_" not in takes:
        return ""
    from dataclasses import fields, is_dataclass

    from undertow.attacks import ATTACKS

    kinds = [entry.load() for entry in ATTACKS.entries()]
    known = {f.name for kind in kinds if is_dataclass(kind) for f in fields(kind)}
    return f" Settings of an attack: --set {name}=VALUE" if name in known else ""


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning as one line, without the source line that raised it."""
    logging.getLogger("undertow").warning("%s", message)
    print(f"undertow: {message}", file=sys.stderr)
