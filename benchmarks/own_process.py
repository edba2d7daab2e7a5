"""A call in a process of its own, which takes its memory with it when it ends."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal


def in_a_process(do: Callable[..., Any], *arguments: Any, start: Literal["spawn", "fork"] = "spawn") -> Any:
    """What a call gives, made in a process of its own.

    Args:
        do: A function of a module.
        arguments: Its arguments; pickled where the process is spawned, as its result always is.
        start: `spawn` starts a new interpreter. `fork` copies this one with the libraries that it has loaded; no
            parallel region may have run in it.

    Raises:
        RuntimeError: If the process ends without a result; its traceback is on standard error.
    """
    context = multiprocessing.get_context(start)
    ours, theirs = context.Pipe(duplex=False)
    process: Any = context.Process(target=_call, args=(theirs, do, arguments))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"{do.__name__} ended with code {process.exitcode} and no result; -9 means that the system had no memory "
            "left"
        ) from None
    finally:
        process.join()


def _call(line: Connection, do: Callable[..., Any], arguments: tuple) -> None:
    """Make the call, and hand back its result."""
    line.send(do(*arguments))
