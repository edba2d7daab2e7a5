"""A call in a process of its own, which takes its memory with it when it ends."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any


def in_a_process(do: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives, made in a fresh process.

    Args:
        do: A function of a module.
        arguments: Its arguments, which are pickled, as is its result.

    Raises:
        RuntimeError: If the process ends without a result.
    """
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_child, args=(queue, do, arguments))
    process.start()
    while process.is_alive() and queue.empty():
        time.sleep(0.2)
    result = None if queue.empty() else queue.get()
    process.join()
    if result is None:
        raise RuntimeError(
            f"{do.__name__} ended with code {process.exitcode} and no result; -9 means that the system had no memory "
            "left"
        )
    return result


def _child(queue: Any, do: Callable[..., Any], arguments: tuple) -> None:
    """Make the call, and hand back its result."""
    queue.put(do(*arguments))
