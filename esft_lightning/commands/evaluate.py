"""The verb `evaluate`: general ability of a model, with or without an adapter, by the field's own benchmarks."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esft_lightning.errors import SettingError

if TYPE_CHECKING:
    from esft_lightning.comparison import RunResult
    from esft_lightning.evaluation.harness import TaskScore

DESCRIPTION = "Measure general ability by lm-eval's benchmarks (in a clone: pip install '.[eval]')."
EPILOG = """\
  python -m esft_lightning evaluate --base deepseek-ai/DeepSeek-V2-Lite --adapter runs/law/ESFTGate/version_0/adapter \\
      --tasks mmlu,hellaswag,arc_challenge,triviaqa,ifeval,ceval,cluewsc --against-base
  python -m esft_lightning evaluate --base tiny --tasks esft_general     # offline: the embedded probes
  python -m esft_lightning evaluate --run runs/compare/law/esft_token/seed0 --tasks mmlu   # into that run's result.json
"""
REPORT_FILE = "evaluation.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="tasks or groups of the harness, commas or spaces")
    parser.add_argument("--list", action="store_true", help="print the names of all tasks and groups")
    parser.add_argument("--base", default="tiny", help="tiny, a local folder, or a hub id (default: %(default)s)")
    parser.add_argument("--adapter", type=Path, metavar="DIR", help="an adapter folder to put on the base")
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="base and adapter of this run; its result takes the scores"
    )
    parser.add_argument("--against-base", action="store_true", help="also without the adapter, and the change")
    parser.add_argument("--include-path", type=Path, nargs="+", default=[], metavar="DIR", help="more task folders")
    parser.add_argument("--num-fewshot", type=int, metavar="N", help="examples in a prompt (default: the task's own)")
    parser.add_argument("--limit", type=int, metavar="N", help="documents of each task (default: all)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="rows at once (default: %(default)s)")
    parser.add_argument(
        "--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), help="of the base's weights"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, … (default: the best there is)")
    parser.add_argument("--chat-template", action="store_true", help="put prompts into the tokenizer's chat template")
    parser.add_argument("--trust-remote-code", action="store_true", help="run model code that comes with the base")
    parser.add_argument(
        "--allow-code-execution", action="store_true", help="let tasks that ask for it run what the model wrote"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="for evaluation.json and TensorBoard (default: runs/evaluate/NAME)"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out `evaluate`.

    Raises:
        UserError: For names, data and adapters that cannot be had, before a model is loaded.
    """
    from esft_lightning.evaluation.harness import load_tasks, task_manager
    from esft_lightning.storage import atomic_write

    names = [name for given in args.tasks or [] for name in given.split(",") if name]
    manager = task_manager(args.include_path)
    if args.list:
        print("\n".join(manager.all_tasks))
        return 0
    if not names:
        raise SettingError("--tasks is missing; --list prints the names")
    result = _run_of(args) if args.run else None
    output = args.output or args.run or Path("runs/evaluate") / _name(args)
    output.mkdir(parents=True, exist_ok=True)
    tasks = load_tasks(manager, names)
    after, before, facts = _measured(args, tasks, manager)
    report = _report(args, after, before, facts)
    atomic_write(output / REPORT_FILE, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    if result is not None:
        with_scores(result, after, before).save(args.run)
    _log(output, after)
    _show(after, before)
    print(output / REPORT_FILE)
    return 0


def _run_of(args: argparse.Namespace) -> RunResult:
    """The run that is evaluated; sets base, adapter and dtype to its own.

    Raises:
        ValueError: No finished run there.
    """
    from esft_lightning.comparison.result import RESULT_FILE, RunResult

    result = RunResult.load(args.run / RESULT_FILE)
    if not result.finished:
        raise SettingError(f"{args.run}: the run has not finished; there is nothing to evaluate")
    adapter = args.run / "adapter"
    if not result.spec.is_base and not adapter.is_dir():
        raise SettingError(f"{args.run}: no adapter folder, as where results come from an archive; run it anew")
    args.base, args.adapter = result.spec.base, None if result.spec.is_base else adapter
    args.dtype = result.spec.model.get("dtype", args.dtype)
    args.trust_remote_code = args.trust_remote_code or bool(result.spec.model.get("trust_remote_code"))
    return result


def _name(args: argparse.Namespace) -> str:
    parts = args.adapter.resolve().parts[-3:] if args.adapter else [args.base]
    return "-".join(part.strip("/").replace("/", "-") for part in parts)


def _best_device() -> str:
    """The device that accelerate would take."""
    from accelerate import PartialState

    return str(PartialState().device)


def _measured(
    args: argparse.Namespace, tasks: dict[str, Any], manager: Any
) -> tuple[list[TaskScore], list[TaskScore], dict[str, Any]]:
    """Scores with the adapter (or of the base), of the base beside them, and facts of the model."""
    import torch

    from esft_lightning.adapters import load_adapter
    from esft_lightning.evaluation.harness import evaluate_tasks
    from esft_lightning.moe import check_embeddings, load_model, load_tokenizer, model_fingerprint

    started = time.perf_counter()
    device = args.device or _best_device()
    tokenizer = load_tokenizer(args.base, trust_remote_code=args.trust_remote_code)
    model = load_model(args.base, dtype=args.dtype, trust_remote_code=args.trust_remote_code)
    check_embeddings(model, tokenizer)
    model.to(torch.device(device))  # pyright: ignore[reportArgumentType] - Transformers wraps the method
    facts = {"base_fingerprint": model_fingerprint(model)}

    def scores() -> list[TaskScore]:
        return evaluate_tasks(
            model,
            tokenizer,
            tasks,
            manager,
            batch_size=args.batch_size,
            num_fewshot=args.num_fewshot,
            limit=args.limit,
            chat_template=args.chat_template,
            allow_code_execution=args.allow_code_execution,
        )

    before = []
    if args.adapter:
        load_adapter(model, args.adapter)  # before anything long: a folder that does not fit is refused here
        after = scores()
        if args.against_base:
            from esft_lightning.adapters import remove_adapter

            remove_adapter(model)
            before = scores()
    else:
        after = scores()
    return after, before, {**facts, "seconds": round(time.perf_counter() - started, 1)}


def _report(
    args: argparse.Namespace, after: Sequence[TaskScore], before: Sequence[TaskScore], facts: dict[str, Any]
) -> dict[str, Any]:
    from esft_lightning.comparison.environment import commit, versions

    settings = ("num_fewshot", "limit", "batch_size", "dtype", "chat_template")
    return {
        "base": args.base,
        "adapter": str(args.adapter) if args.adapter else None,
        **facts,
        "settings": {name: getattr(args, name) for name in settings},
        "scores": [asdict(score) for score in after],
        "base_scores": [asdict(score) for score in before],
        "versions": versions() | _version("lm_eval"),
        "commit": commit(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package)}


def with_scores(result: RunResult, after: Sequence[TaskScore], before: Sequence[TaskScore]) -> RunResult:
    """A run's result with benchmark scores under `general/<task>`, where tables and figures look for general ability.

    Args:
        result: The run.
        after: Scores of the run's model.
        before: Scores of its base; may be empty.

    Returns:
        The result, with `general/average` over all that is general ability in it now.
    """
    from esft_lightning.comparison.result import GENERAL, GENERAL_LOSS

    def joined(known: dict[str, float], scores: Sequence[TaskScore]) -> dict[str, float]:
        values = {**known, **{f"{GENERAL}{score.name}": round(score.value, 6) for score in scores}}
        aside = (GENERAL_LOSS, f"{GENERAL}average")
        parts = [value for name, value in values.items() if name.startswith(GENERAL) and name not in aside]
        return {**values, f"{GENERAL}average": round(sum(parts) / len(parts), 6)} if parts else values

    rows = {f"{GENERAL}{score.name}": [round(value, 6) for value in score.scores] for score in after if score.scores}
    return replace(
        result,
        after=joined(result.after, after),
        before=joined(result.before, before) if before else result.before,
        rows={**result.rows, **rows},
    )


def _log(output: Path, scores: Sequence[TaskScore]) -> None:
    """Into TensorBoard, beside what the run logged itself."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(output)) as writer:
        for score in scores:
            writer.add_scalar(f"general/{score.name}", score.value, 0)


def _show(after: Sequence[TaskScore], before: Sequence[TaskScore]) -> None:
    from rich.console import Console
    from rich.table import Table

    base = {score.name: score for score in before}
    table = Table(title="General ability, 0–100 ± standard error")
    for heading in ("task", "metric", "documents", "score", *(("base", "change") if base else ())):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for score in after:
        cells = [score.name, score.metric, f"{score.rows:,}", _value(score)]
        if score.name in base:
            cells += [_value(base[score.name]), f"{100 * (score.value - base[score.name].value):+.1f}"]
        table.add_row(*cells)
    Console().print(table)


def _value(score: TaskScore) -> str:
    return f"{100 * score.value:.1f}" + ("" if score.error is None else f" ± {100 * score.error:.1f}")
