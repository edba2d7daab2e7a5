"""The child process of one run: its own log, its own memory, its own end. Light to import; the run itself is not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from esft_lightning.comparison.devices import VISIBLE
from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.errors import explanation, one_line
from esft_lightning.tasks.scorers import TASKS
from esft_lightning.training.shown_log import shown_log

LOG_FILE = "log.txt"

# What a run imports. The fork server loads these once; each run then starts from a copy in which they are there. None
# of them asks CUDA anything, which would keep a forked process from it; a test watches them.
PRELOAD = (
    "torch",
    "lightning.pytorch",
    "transformers.generation.utils",
    "transformers.models.deepseek_v2.modeling_deepseek_v2",
    "transformers.models.auto.modeling_auto",
    "torch.utils.tensorboard",
    "esft_lightning.comparison.single_run",
    "esft_lightning.data.task",
    "esft_lightning.embedded.corpus",
    "esft_lightning.evaluation.general",
    "esft_lightning.tasks.task_score",
    *(f"esft_lightning.tasks.{task}" for task in TASKS),
)


# peft imports bitsandbytes, which asks CUDA: a run imports it by itself where there are devices.
PRELOAD_WITHOUT_CUDA = (*PRELOAD, "peft")


def run_in_child(
    spec: RunSpec,
    key: str,
    folder: Path,
    cache: Path,
    before: Mapping[str, float],
    threads: int,
    allow_code_execution: bool,
    device: str | None,
    messages: Connection,
) -> None:
    """Run a spec and write its result, finished or failed; the target of the child process.

    Args:
        spec: What to run.
        key: The run's key.
        folder: The run's folder, there already.
        cache: Folder of what runs share.
        before: The base's scores.
        threads: Threads that torch may use.
        allow_code_execution: Let the code task run what the model wrote.
        device: The CUDA device that the run may see; None leaves things as they are.
        messages: Gets `(phase, done, total)` as the run goes on.
    """
    if device is not None:
        os.environ[VISIBLE] = device  # read when CUDA starts, which importing torch does not do
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the runner decides what ends
    _leave_with_parent()
    log = (folder / LOG_FILE).open("a", encoding="utf-8", buffering=1)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    sys.stdout = sys.stderr = log

    def progress(phase: str, done: int, total: int) -> None:
        messages.send((phase, done, total))

    try:
        from esft_lightning.comparison.single_run import execute

        with shown_log():
            result = execute(
                spec,
                key,
                folder,
                cache=cache,
                before=before,
                threads=threads,
                allow_code_execution=allow_code_execution,
                progress=progress,
            )
    except Exception as error:
        line = explanation(error)
        if line is None:
            traceback.print_exc()
        else:
            print(f"error: {line}")
        result = RunResult(
            spec=spec,
            status="failed",
            key=key,
            error=line or _one_line(error),
            traceback=traceback.format_exc() if line is None else "",
            mendable=line is not None,
            before=dict(before),
        )
    result.save(folder)
    log.flush()


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}" if str(error).strip() else type(error).__name__


def _leave_with_parent() -> None:
    """End this process when the runner is gone, however it went; nobody would wait for the run any more."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()
