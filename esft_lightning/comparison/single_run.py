"""One run, from its spec to its result: what `fit` and then `test` do, with a clock. Loads torch and Lightning.

Knows how a spec becomes objects; the process it runs in, and which runs there are, are others' business.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger

from esft_lightning import tasks
from esft_lightning.adapters import adapter_bytes
from esft_lightning.comparison.best_weights import BestWeights
from esft_lightning.comparison.devices import visible_devices
from esft_lightning.comparison.environment import commit, hardware, peak_memory_bytes, versions
from esft_lightning.comparison.hparams import outcome_of, write_session
from esft_lightning.comparison.result import ALSO, COMPLETIONS_FILE, GENERAL, RunResult
from esft_lightning.comparison.rote_scores import rote_scores
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.embedded import is_embedded
from esft_lightning.moe.described_products import described_products
from esft_lightning.scoring.free_text import exact_match
from esft_lightning.scoring.sandbox import missing_walls
from esft_lightning.storage import atomic_write
from esft_lightning.strategies import training_table
from esft_lightning.strategies.strategy_class import strategy_class
from esft_lightning.training.callbacks.adapter_checkpoint import AdapterCheckpoint
from esft_lightning.training.callbacks.affinity_profiler import ExpertAffinityProfiler
from esft_lightning.training.callbacks.routing_monitor import RoutingMonitor
from esft_lightning.training.callbacks.validation_score import ValidationScore
from esft_lightning.training.module import ExpertFineTuner
from esft_lightning.training.run_folder import RunFolder
from esft_lightning.training.run_logger import RunLogger

DATA_SEED = 5934875
"""The authors' seed; a run's own is added to it."""

Progress = Callable[[str, int, int], None]
"""Called with a phase (`prepare`, `train`, `evaluate`), how much of it is done, and of how much."""


def execute(
    spec: RunSpec,
    key: str,
    folder: Path,
    *,
    cache: Path,
    before: Mapping[str, float],
    threads: int,
    allow_code_execution: bool = False,
    progress: Progress = lambda phase, done, total: None,
) -> RunResult:
    """Run a spec; leaves TensorBoard events, and where something is trained, adapter and selection, in the folder.

    Args:
        spec: What to run.
        key: The run's key, for the record.
        folder: The run's own folder.
        cache: Folder of profiles and tokens that runs share.
        before: The base's scores, for the record.
        threads: Threads that torch may use.
        allow_code_execution: Score the code task by running what the model wrote.
        progress: Told how far the run is.

    Returns:
        The result, not yet saved.
    """
    started = time.perf_counter()
    started_cpu = time.process_time()
    progress("prepare", 0, 1)
    _quiet()
    torch.set_num_threads(threads)
    seed_everything(spec.seed, verbose=False)
    module = _module(spec, allow_code_execution, cache)
    data = _data(spec, cache)
    watch = _Watch(progress, spec.steps)
    trainer = _trainer(spec, folder, cache, watch)

    if not spec.is_base:
        trainer.fit(module, datamodule=data)
        watch.peak_memory = _peak_memory()
    else:
        module.load_base()
    rows = training_table(module.model)
    trained = 0 if spec.is_base else sum(row.trained for row in rows)
    progress("evaluate", 0, 1)
    evaluation_started = time.perf_counter()
    after, row_scores, exact = _evaluate(trainer, module, data, spec, folder, cache)
    ended = time.perf_counter()

    profile = module.profile
    selection = None if spec.is_base else module.selection
    seconds = {"total": ended - started, "evaluate": ended - evaluation_started}
    seconds["processor"] = time.process_time() - started_cpu
    if watch.seconds:
        seconds |= {
            "prepare": watch.training_started - started,
            "train": watch.training_ended - watch.training_started,
            "step": statistics.median(watch.seconds),
        }
    result = RunResult(
        spec=spec,
        status="finished",
        key=key,
        before=dict(before),
        after=after,
        rows=row_scores,
        exact=exact,
        rote=rote_scores(data, allow_code_execution) if spec.is_base else {},
        losses={"train": watch.losses, "validation": watch.validation},
        validation_scores=next((c.scores for c in trainer.callbacks if isinstance(c, ValidationScore)), []),  # type: ignore[attr-defined]
        seconds={name: round(value, 4) for name, value in seconds.items()},
        peak_memory_bytes=watch.peak_memory or _peak_memory(),
        parameters={
            "total": sum(row.total for row in rows),
            "trained": trained,
            "trained_by_group": {row.group: row.trained for row in rows if trained and row.trained},
        },
        adapter_bytes=0 if spec.is_base else adapter_bytes(folder / "adapter"),
        selected_experts={} if selection is None else {str(k): list(v) for k, v in sorted(selection.experts.items())},
        affinity=_affinity_facts(profile),
        tokens_trained=watch.tokens,
        batches_digest=watch.batches.hexdigest()[:16] if watch.seconds else "",
        data_fingerprint="" if spec.is_base else data.data_fingerprint,
        base_fingerprint=module.base_fingerprint,
        learning_rate=0.0 if spec.is_base else module.learning_rate,
        weight_updates="" if spec.is_base else module.weight_updates,
        missing_walls=_missing_walls(spec) if allow_code_execution else [],
        versions=versions(),
        hardware={
            **hardware(threads, trainer.strategy.root_device.type),
            "expert_products": described_products(module.model),
        },
        commit=commit(),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _log_outcome(trainer, result)
    return result


def _missing_walls(spec: RunSpec) -> list[str]:
    return list(missing_walls()) if "code" in (spec.task, *spec.also_test) else []


def _evaluate(
    trainer: Trainer, module: ExpertFineTuner, data: Any, spec: RunSpec, folder: Path, cache: Path
) -> tuple[dict[str, float], dict[str, list[float]], float]:
    """Test on the task and general ability, then on the other tasks; completions are kept in the run's folder.

    Returns:
        Scores, the scores of every row, under the names of `RunResult`, and the share of exact answers.
    """
    after = _scores(trainer.test(module, datamodule=data, verbose=False)[0])
    rows = {"task": _keep_completions(module, folder / COMPLETIONS_FILE)}
    answers = [completion["example"] for completion in module.completions]
    exact = statistics.fmean(exact_match(answer["raw_prediction"], answer) for answer in answers)
    if module.general is not None:
        rows |= {f"{GENERAL}{probe}": scores for probe, scores in module.general.rows.items()}
    general, module.general_ability = module.general_ability, False
    for task in spec.also_test:
        trainer.test(module, datamodule=_data(spec.with_changes(task=task), cache), verbose=False)
        scores = _keep_completions(module, folder / f"also_{task}_{COMPLETIONS_FILE}")
        rows[f"{ALSO}{task}"] = scores
        after[f"{ALSO}{task}"] = round(statistics.fmean(scores), 6)
    module.general_ability = general
    return after, {name: [round(score, 6) for score in scores] for name, scores in rows.items()}, round(exact, 6)


def _keep_completions(module: ExpertFineTuner, path: Path) -> list[float]:
    """Write what was generated, readable by the verb `score`; returns every row's score."""
    lines = [json.dumps(completion, ensure_ascii=False) + "\n" for completion in module.completions]
    atomic_write(path, "".join(lines).encode())
    return [float(completion["score"]) for completion in module.completions]


class _Watch(Callback):
    """Takes the time of every optimizer step, its loss, and which rows it was made from."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self.progress = progress
        self.steps = steps
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.validation: list[tuple[int, float]] = []
        self.tokens = 0
        self.batches = hashlib.sha256()
        self.training_started = self.training_ended = 0.0
        self.peak_memory = 0
        self._step_started: float | None = None
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []  # of the step at hand, not yet read

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._step_started is None:
            self._step_started = time.perf_counter()
        self.training_started = self.training_started or self._step_started

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._seen.append((batch["token_mask"].sum(), batch["row_index"]))
        if trainer.global_step == len(self.losses) or self._step_started is None:
            return  # a batch of a step that goes on
        loss = float(trainer.callback_metrics["train/loss"])  # waits for the device, so that the clock is true
        self.seconds.append(time.perf_counter() - self._step_started)
        self._step_started = None
        for tokens, rows in self._seen:
            self.tokens += int(tokens)
            self.batches.update(rows.cpu().numpy().astype("<i8").tobytes() + b";")
        self._seen.clear()
        self.losses.append(round(loss, 6))
        self.progress("train", len(self.seconds), self.steps)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking and "val/loss" in trainer.callback_metrics:
            self.validation.append((trainer.global_step, round(float(trainer.callback_metrics["val/loss"]), 6)))

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.training_ended = time.perf_counter()

    def on_test_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:  # fmt: skip # noqa: E501
        # General ability follows the task's batches and takes about as long as all of them.
        self.progress("evaluate", batch_idx + 1, 2 * int(trainer.num_test_batches[0]))


def _module(spec: RunSpec, allow_code_execution: bool, cache: Path) -> ExpertFineTuner:
    # A base run trains nothing; the strategy that the module asks for is then never applied.
    strategy = (
        strategy_class("FullFineTuning")() if spec.is_base else strategy_class(spec.strategy)(**spec.strategy_args)
    )
    return ExpertFineTuner(
        strategy,
        base=spec.base,
        learning_rate_scale=spec.learning_rate_scale,
        allow_code_execution=allow_code_execution,
        **{"expert_group_cache": str(cache / "profiles"), **spec.model},
    )


def _data(spec: RunSpec, cache: Path) -> Any:
    settings = {
        "tokenizer": spec.base,
        "cache_dir": str(cache / "tokens"),
        "seed": DATA_SEED + spec.seed,
        **spec.data,
    }
    for name in ("revision", "trust_remote_code"):
        if name in spec.model:
            settings.setdefault(name, spec.model[name])
    return getattr(tasks, f"{spec.task.capitalize()}DataModule")(**settings)


def _trainer(spec: RunSpec, folder: Path, cache: Path, watch: _Watch) -> Trainer:
    callbacks: list[Callback] = [RunFolder(folder), watch]
    if not spec.is_base:
        profiler = ExpertAffinityProfiler(token_budget=spec.profile_tokens, cache_dir=str(cache / "profiles"))
        callbacks += [profiler, RoutingMonitor(validation_batches=2)]
        callbacks += [ValidationScore(spec.validation_answers)] if spec.validation_answers else []
        callbacks += [BestWeights()] if spec.validate_every else []
        if spec.patience:
            callbacks.append(EarlyStopping("val/loss", min_delta=spec.min_delta, patience=spec.patience))
        callbacks += [AdapterCheckpoint(save_best=False)]  # after the best weights are back
    return Trainer(
        # Of the embedded model's small steps a CPU makes more than anything but a GPU of CUDA does.
        accelerator="cpu" if is_embedded(spec.base) and not visible_devices() else "auto",
        devices=1,
        max_steps=spec.steps or -1,
        max_epochs=-1,
        gradient_clip_val=1.0,
        check_val_every_n_epoch=None,
        accumulate_grad_batches=spec.accumulate,
        val_check_interval=(spec.validate_every or max(1, spec.steps // 2)) * spec.accumulate,  # in batches
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=callbacks,
        default_root_dir=folder,
        logger=RunLogger(folder, name="", version="", default_hp_metric=False),
    )


def _scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Lightning's test metrics under the names of `RunResult`."""
    scores = {}
    for name, value in metrics.items():
        place = name.removeprefix("test/")
        if place.startswith(GENERAL):
            scores[place] = round(float(value), 6)
        elif place.endswith("/score"):
            scores["task"] = round(float(value), 6)
    return scores


def _affinity_facts(profile: Any) -> dict[str, int]:
    if profile is None:
        return {}
    return {name: int(getattr(profile, name)) for name in ("tokens", "samples", "num_experts", "top_k")}


def _peak_memory() -> int:
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return peak_memory_bytes()


def _log_outcome(trainer: Trainer, result: RunResult) -> None:
    """Tell TensorBoard what the run was, and what came out."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            write_session(logger.experiment._get_file_writer(), result)
            logger.log_metrics(outcome_of(result), result.spec.steps)
            logger.save()
            logger.finalize("success")


def _quiet() -> None:
    """Leave out what Lightning tells on every start; the run's log keeps the rest."""
    warnings.filterwarnings(
        "ignore", message=".*(does not have many workers|GPU available|isn't allowed|tensorboard).*"
    )
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
