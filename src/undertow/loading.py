"""Objects named by file or module: ``path/to/mine.py:Class`` and ``package.module:Class``.

Naming a file runs it, so only what the user names is ever loaded, never what a stored run names.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import redirect_stdout
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

from undertow.errors import BadInput, Unavailable, UndertowError, UnknownName

OWN: Final = "undertow_file_"
"""How the modules of the user's files are called."""

__all__ = [
    "culprit",
    "digest",
    "home",
    "import_file",
    "import_source",
    "is_file",
    "is_folder",
    "is_source",
    "load_object",
    "needed",
    "there",
]


def home(path: object) -> Path:
    """A path, ``~`` being the home of whoever asks; one of nobody's is left as it stands."""
    try:
        return Path(str(path)).expanduser()
    except RuntimeError:
        return Path(str(path))


def there(path: object) -> bool:
    """Whether a file or folder is there; a path that cannot be one is not."""
    try:
        return home(path).exists()
    except (OSError, ValueError):  # too long, NUL
        return False


def is_file(path: object) -> bool:
    """Whether it is a plain file, or a link to one: no folder, pipe or device, and there."""
    try:
        return home(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: object) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return home(path).is_dir()
    except (OSError, ValueError):
        return False


def needed(what: str, extra: str, *modules: str) -> None:
    """That what an extra of this package brings is installed.

    Args:
        what: what needs it, in the message.
        extra: its name, as ``pip install 'undertow[extra]'`` takes it.
        modules: what must be importable.

    Raises:
        Unavailable: names the first that is not, and the line that installs it.
    """
    for module in modules:
        if find_spec(module) is None:
            raise Unavailable(f"{what} needs {module}: pip install 'undertow[{extra}]'")


def is_source(name: object) -> bool:
    """Whether a name says where its object lies: ``mine.py:Class`` or ``package.module:Class``."""
    module, colon, attribute = str(name).rpartition(":")
    if not colon or not attribute.isidentifier():
        return False
    return module.endswith(".py") or all(part.isidentifier() for part in module.split("."))


def load_object(source: str, what: str = "object") -> object:
    """What ``path/to/mine.py:Class`` or ``package.module:Class`` names.

    Args:
        source: file or module, a colon, and a name in it.
        what: the word for it in messages.

    Raises:
        BadInput: if there is no such file or module, or it cannot be imported.
        UnknownName: if it has no such name; those it has are listed.
    """
    where, _, attribute = source.rpartition(":")
    module = import_source(where)
    if not hasattr(module, attribute):
        own = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UnknownName(f"{what} in {Path(where).name}", attribute, own)
    found: object = getattr(module, attribute)
    return found


def import_source(where: str) -> ModuleType:
    """The module that a file or a dotted name stands for; a file that is unchanged runs once.

    Raises:
        BadInput: says what went wrong in it.
    """
    if where.endswith(".py"):
        path = home(where)
        known = sys.modules.get(_name_of(path))
        if known is not None and getattr(known, "__undertow_digest__", "") == digest(where):
            return known
        return import_file(path)
    try:
        return import_module(where)
    except UndertowError:
        raise
    except BaseException as error:
        raise _failed(where, error) from error


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module of its own, anew.

    Raises:
        BadInput: if there is no such file, or whatever it raises, in one line.
    """
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    name = _name_of(path)
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    module.__undertow_digest__ = digest(str(path))  # type: ignore[attr-defined]
    sys.modules[name] = module
    beside = str(path.resolve().parent)  # so that a file finds its neighbours, as when it is run
    if beside not in sys.path:
        sys.path.append(beside)
    try:
        with redirect_stdout(sys.stderr):  # what scripts read is ours alone
            found.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, UndertowError):
            raise
        raise _failed(str(path), error) from error
    return module


def digest(where: str) -> str:
    """SHA-256 of a plugin's file, or of the file of a module; empty where it has none.

    Raises:
        BadInput: if there is no such file.
    """
    if not where.endswith(".py"):
        try:
            found = importlib.util.find_spec(where)
        except (ImportError, ValueError) as error:
            raise _failed(where, error) from None
        if found is None:
            raise BadInput(f"there is no module {where}")
        where = found.origin or ""
    path = home(where)
    if not path.is_file():
        if where.endswith(".py"):
            raise BadInput(f"there is no file {path}")
        return ""
    return sha256(path.read_bytes()).hexdigest()


def culprit(error: BaseException) -> str:
    """Where in a file of the user's an error arose: ``mine.py, line 3``; empty: in none.

    Such an error is that code's, and nothing that Undertow could put right.
    """
    found, trace = "", error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(OWN):
            found = f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _name_of(path: Path) -> str:
    return f"{OWN}{sha256(str(path.resolve()).encode()).hexdigest()[:12]}"


def _failed(where: str, error: BaseException) -> BadInput:
    if isinstance(error, KeyboardInterrupt):
        raise error
    told = str(error).strip().splitlines()
    return BadInput(
        f"{where} cannot be imported: {type(error).__name__}{': ' + told[0] if told else ''}"
    )
