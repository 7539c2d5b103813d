"""What a local worker process runs. Imports nothing heavy before its environment is set."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from undertow.allocator import keep_freed_memory
from undertow.errors import UndertowError

__all__ = ["serve"]


def serve(pipe: Connection) -> None:
    """Receive a job, then task after task; send back ``(kind, content)``, until the pipe closes.

    Kinds: ``ready``, ``outcome``; ``refused`` with an error that ends the run.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    sys.stdout = sys.stderr  # a model's own words are not what scripts read
    warnings.simplefilter("ignore")  # the parent has given them already
    try:
        job = pipe.recv()
        import torch

        from undertow.studies.done.executors import work

        torch.set_num_threads(1)
        try:
            work.accept(job)
            pipe.send(("ready", None))
            while True:
                pipe.send(("outcome", work.attempt(job, pipe.recv())))
        except UndertowError as problem:
            pipe.send(("refused", problem))
    except (EOFError, OSError):
        return
    except Exception:
        pipe.send(("broken", traceback.format_exc()))


def _end_with_parent() -> None:
    """A parent that was killed closes no pipes in an orderly way; do not work on for nobody."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
