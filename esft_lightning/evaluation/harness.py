"""General ability by the field's own benchmarks: EleutherAI's lm-evaluation-harness, asked about our model and adapter.

The harness knows tasks, prompts and metrics; this file knows how a model of ours is handed to it, which names the
paper's benchmarks have there, and how to find out before a model is loaded that a task cannot be run. `lm-eval` is the
optional extra `eval`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esft_lightning.data.chat_template import TurnEnd, template_turn_end
from esft_lightning.errors import UserError
from esft_lightning.evaluation.generation import end_tokens
from esft_lightning.evaluation.greedy import decoding_greedily
from esft_lightning.moe.hub import offline_unless_reachable

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["ALIASES", "OWN_TASKS", "HarnessError", "TaskScore", "evaluate_tasks", "load_tasks", "task_manager"]

OWN_TASKS = Path(__file__).parent / "harness_tasks"
"""The task folder that comes along: the embedded probes, and what the harness lacks of the paper's benchmarks."""
ALIASES = {"ceval": "ceval-valid", "arc_c": "arc_challenge", "clue_wsc": "cluewsc"}
"""Names under which a benchmark is known elsewhere → the harness's."""
# Of the metrics that a task reports, the one that the field quotes.
_QUOTED = ("acc_norm", "acc", "exact_match", "prompt_level_strict_acc", "em", "f1")
_FILTERS = ("remove_whitespace", "strict-match", "flexible-extract", "none")


class HarnessError(UserError, ValueError):
    """A task or the harness cannot be had; the message says what to do."""


@dataclass(frozen=True)
class TaskScore:
    """What a model reached in a task or a group of tasks.

    Attributes:
        name: The task's name.
        metric: The quoted metric.
        value: Its value, in [0, 1] for the paper's benchmarks.
        error: Its standard error; None where the harness gives none.
        rows: Documents that were asked.
        scores: The metric of each document, in their order; empty for a group, or where the harness keeps none.
    """

    name: str
    metric: str
    value: float
    error: float | None
    rows: int
    scores: tuple[float, ...] = ()


def task_manager(include: Sequence[Path] = ()) -> TaskManager:
    """The harness's index of tasks, with ours and those of more folders.

    Args:
        include: Folders of task files; later ones take the place of tasks of the same name.

    Raises:
        HarnessError: The harness is not installed, or a folder does not exist.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise HarnessError("evaluate needs lm-eval; in a clone of this project: pip install '.[eval]'") from error
    for folder in include:
        if not folder.is_dir():
            raise HarnessError(f"--include-path {folder}: no such folder; expected one with lm-eval task files (YAML)")
    return TaskManager(include_path=[OWN_TASKS, *include])


def load_tasks(manager: TaskManager, names: Sequence[str]) -> dict[str, Any]:
    """Load tasks with their data, which takes no model.

    Args:
        manager: The index.
        names: Tasks, groups or tags of the harness, or an alias.

    Returns:
        The name that was asked for → what the harness loaded for it.

    Raises:
        HarnessError: Names that nothing has, with the nearest ones, or data that cannot be had; all of them at once.
    """
    troubles, found = [], {}
    for name in dict.fromkeys(names):
        known = ALIASES.get(name, name)
        if known not in manager.task_index:
            near = difflib.get_close_matches(known, [*ALIASES, *manager.all_tasks], n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "--list shows the names"
            troubles.append(f"{name!r}: the harness has no such task; {hint}")
    if troubles:
        raise HarnessError("; ".join(troubles))
    if not all(ALIASES.get(name, name).startswith("esft_") for name in names):  # the embedded probes need no hub
        offline_unless_reachable()
    for name in dict.fromkeys(names):
        known = ALIASES.get(name, name)
        try:
            found[name] = manager.load([known])
        except Exception as error:  # whatever a data source raises: all tasks are tried before the first is run
            cause = " ".join(str(error).split())[:200]
            data = _data_of(manager, known)
            troubles.append(f"{name!r}: {data}cannot be loaded ({type(error).__name__}: {cause})")
    if troubles:
        raise HarnessError("; ".join(troubles) + ". Is the hub within reach, and what the task needs installed?")
    asked_as: dict[str, str] = {}
    for name, loaded in found.items():
        for leaf in loaded["tasks"]:
            if (other := asked_as.setdefault(leaf, name)) != name:
                raise HarnessError(
                    f"Duplicate task {leaf!r}: part of both {other!r} and {name!r}; ask for one of the two"
                )
    return found


def _data_of(manager: TaskManager, name: str) -> str:
    config = manager.task_index[name].cfg or {}
    path = config.get("dataset_path") if isinstance(config, dict) else None
    return f"its data set {path} " if path else ""


def evaluate_tasks(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: dict[str, Any],
    manager: TaskManager,
    *,
    batch_size: int = 16,
    num_fewshot: int | None = None,
    limit: int | None = None,
    chat_template: bool = False,
    allow_code_execution: bool = False,
) -> list[TaskScore]:
    """Run tasks; greedy where something is generated.

    Args:
        model: Base, with or without an adapter; used as it is.
        tokenizer: Its tokenizer.
        tasks: What `load_tasks` gave.
        manager: The index.
        batch_size: Rows computed together.
        num_fewshot: Examples in a prompt; None takes each task's own number.
        limit: Documents of each task; None takes all.
        chat_template: Put prompts into the tokenizer's chat template.
        allow_code_execution: Run what the model wrote, in tasks that ask for it.

    Returns:
        A score for each name that was asked for, and for a tag, which has none of its own, one for each of its tasks.

    Raises:
        HarnessError: A task that would run generated code without leave.
    """
    # as Any, since its types do not say what its functions take and give
    harness: Any = import_module("lm_eval")
    huggingface: Any = import_module("lm_eval.models.huggingface")

    flat = {name: task for loaded in tasks.values() for name, task in loaded["tasks"].items()}
    unsafe = [name for name, task in flat.items() if getattr(task, "UNSAFE_CODE", False)]
    unsafe += [name for name, task in flat.items() if getattr(task.config, "unsafe_code", False) and name not in unsafe]
    if unsafe and not allow_code_execution:
        raise HarnessError(f"{', '.join(unsafe)} would run what the model wrote; say --allow-code-execution")
    end = template_turn_end(tokenizer) if chat_template else TurnEnd()
    language_model = _turn_ending(huggingface.HFLM, end.texts)(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=batch_size,
        add_bos_token=False if chat_template else None,  # a template writes its own, as in training
    )
    with decoding_greedily(model, end_tokens(model, tokenizer, end)):  # else the harness leaves both to the model
        outcome = harness.simple_evaluate(
            model=language_model,
            tasks=[ALIASES.get(name, name) for name in tasks],
            task_manager=manager,
            num_fewshot=num_fewshot,
            limit=limit,
            apply_chat_template=chat_template,
            log_samples=True,
            bootstrap_iters=1000,
            confirm_run_unsafe_code=allow_code_execution,
        )
    if outcome is None:
        return []  # a rank that is not the first
    found = []
    for asked, loaded in tasks.items():
        name = ALIASES.get(asked, asked)
        if name in outcome["results"] and _metrics(outcome["results"][name]):
            found.append(_score(asked, name, list(loaded["tasks"]), outcome))
        else:
            found += [_score(leaf, leaf, [leaf], outcome) for leaf in loaded["tasks"]]
    return found


def _turn_ending(language_model: Any, texts: Sequence[str]) -> Any:
    """The harness's language model, whose answers also end where the chat format opens the next turn."""

    class TurnEnding(language_model):
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            ending = [copy(request) for request in requests]
            for request in ending:
                context, settings = request.arguments
                until = settings.get("until") or []
                until = [until] if isinstance(until, str) else list(until)
                request.arguments = (context, {**settings, "until": [*until, *texts]})
            return super().generate_until(ending, disable_tqdm)

    return TurnEnding if texts else language_model


def _score(asked: str, name: str, leaves: Sequence[str], outcome: Any) -> TaskScore:
    """The quoted metric of a task or group, out of all that the harness reports, with the rows of its tasks."""
    values = outcome["results"][name]
    metric, kind = _quoted(values)
    error = values.get(f"{metric}_stderr,{kind}")
    rows = sum(outcome["n-samples"][leaf]["effective"] for leaf in leaves)
    scores = tuple(
        float(sample[metric])
        for leaf in leaves
        for sample in outcome.get("samples", {}).get(leaf, [])
        if sample.get("filter", kind) == kind and isinstance(sample.get(metric), int | float)
    )
    return TaskScore(
        asked,
        metric,
        float(values[f"{metric},{kind}"]),
        float(error) if isinstance(error, int | float) else None,
        rows,
        scores if len(scores) == rows else (),
    )


def _metrics(values: dict[str, Any]) -> list[tuple[str, str]]:
    """The metrics among what the harness reports of a task: `(metric, filter)`."""
    pairs = [(key.partition(",")[0], key.partition(",")[2]) for key, value in values.items() if _is_number(value)]
    return [(metric, kind) for metric, kind in pairs if kind and not metric.endswith("_stderr")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _quoted(values: dict[str, Any]) -> tuple[str, str]:
    known = _metrics(values)
    if not known:
        raise HarnessError(f"the harness reports no metric among {sorted(values)}")
    wanted = [(metric, kind) for metric in _QUOTED for kind in _FILTERS]
    return next((pair for pair in wanted if pair in known), known[0])
