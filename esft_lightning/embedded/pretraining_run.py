"""The loop of a pretraining run: steps, saves, exact resume, and shorter runs that branch off a longer one.

A run's weights follow from its settings alone: rows from seed and step, the rate from the step. The rate warms up,
stays constant, and falls to zero in a straight line over the last part of the run, which is the instruction stage as
well. All before that part, the trunk, is the same in a run of any length; states kept along it are where shorter and
longer runs of the same seed begin, so that only their last part is trained anew.

Knows no command line. Devices are Lightning Fabric's business.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from lightning.fabric import Fabric
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, PreTrainedModel

from esft_lightning.embedded.corpus import STAGE, WEIGHTS, domain_texts
from esft_lightning.embedded.pretraining_files import RunFolder
from esft_lightning.embedded.pretraining_rows import encoder, run_rows, step_loader
from esft_lightning.embedded.pretraining_settings import Machine, Pretraining, PretrainingError, learning_rate_factor
from esft_lightning.embedded.tiny_model import BALANCE, PretrainingLoss, new_model, tiny_config

__all__ = ["make_optimizers", "pretrain"]

WEIGHT_DECAY = 0.1
_HELD_OUT_ROWS, _HELD_OUT_LENGTH = 12, 256


def pretrain(
    output: Path,
    settings: Pretraining,
    machine: Machine = Machine(),  # noqa: B008 - frozen
    *,
    start: Path | None = None,
    keep: tuple[Fraction, ...] = (),
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Pretrain a tiny model, or go on with the run whose state lies in `output`.

    Args:
        output: Folder of the run.
        settings: What is trained.
        machine: Where and how it is trained.
        start: Folder of a run that differs in its length alone; this run begins at the last state that both share.
        keep: Shares of the run for which a state is kept, where shorter runs of that share branch off.
        tell: Shown the log lines.

    Returns:
        The record, as written to `PRETRAINING.json`.

    Raises:
        PretrainingError: The folder holds another run, `start` shares no state, or the loss is not finite.
    """
    run = _Run(output, settings, machine, keep, tell)
    run.begin(start)
    return run.to_the_end()


class _Run:
    def __init__(
        self,
        output: Path,
        settings: Pretraining,
        machine: Machine,
        keep: tuple[Fraction, ...],
        tell: Callable[[str], None],
    ):
        self.folder, self.settings, self.machine, self.tell = RunFolder(output), settings, machine, tell
        self.described = settings.described()
        # the run's own trunk is kept for longer runs
        self.kept = {settings.shortened(share).trunk for share in (*keep, Fraction(1))}
        self.fabric = Fabric(accelerator=machine.accelerator, devices=1, precision=machine.precision)
        self.tokenizer = AutoTokenizer.from_pretrained(settings.tokenizer)
        self.model: PreTrainedModel = new_model(tiny_config(self.tokenizer, settings.shape), settings.seed)
        self.loss, *self.optimizers = self.fabric.setup(PretrainingLoss(self.model), *make_optimizers(self.model))
        self.loss.train()
        self.step, self.running = 0, None
        self.seconds = {"wall": 0.0, "processor": 0.0}
        self.history: list[dict[str, Any]] = []
        self._clocks = _clocks()

    def begin(self, start: Path | None) -> None:
        """Take up the run's own state, or one that it shares with the run in `start`."""
        own = self.folder.state()
        if own is not None:
            self._load(own, lengths_too=True, place=self.folder.path)
        elif start is not None:
            state = RunFolder(start).trunk_state(self.settings.trunk)
            if state is None:
                raise PretrainingError(
                    f"{start}: it has kept no state at or before step {self.settings.trunk}, where this run's last "
                    f"part begins; leave the start out, or begin at a run that has"
                )
            self._load(state, lengths_too=False, place=start)
        self._clocks = _clocks()

    def _load(self, state: dict[str, Any], *, lengths_too: bool, place: Path) -> None:
        told, asked = state["settings"], self.described
        different = [key for key in asked if asked[key] != told.get(key) and (lengths_too or key != "steps")]
        if different:
            said = ", ".join(f"{key}={told.get(key)} (asked for {asked[key]})" for key in different)
            raise PretrainingError(f"{place}: it holds a run with {said}; name another output, or the same settings")
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step, self.running, self.history = state["step"], state["running"], state["history"]
        self.seconds = state["seconds"]

    def to_the_end(self) -> dict[str, Any]:
        """Train what is left."""
        settings = self.settings
        rows = run_rows(self.tokenizer, settings)
        saved = time.monotonic()
        summed = torch.zeros((), device=self.fabric.device)
        since = 0
        on_cuda = self.fabric.device.type == "cuda"
        for ids in step_loader(rows, settings.steps, self.step, self.machine.workers, pin=on_cuda):
            factor = learning_rate_factor(self.step, settings)
            for optimizer, rate in zip(self.optimizers, (settings.rate, settings.matrix_rate), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
            loss, language_loss = self.loss(self.fabric.to_device(ids))
            self.fabric.backward(loss)
            # of the other optimizer the direction of a gradient counts, whatever its length
            self.fabric.clip_gradients(self.loss, self.optimizers[0], max_norm=1.0, error_if_nonfinite=False)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            summed += language_loss
            self.step, since = self.step + 1, since + 1
            last = self.step == settings.steps
            due = time.monotonic() - saved > 60 * self.machine.save_minutes
            if last or due or self.step in self.kept or self.step % self.machine.log_every == 0:
                self._log(summed.item() / since)  # the one place that waits for the device
                summed.zero_()
                since = 0
            if last or due or self.step in self.kept:
                self.save()
                saved = time.monotonic()
        return self.folder.record() if self.step else {}

    def _log(self, loss: float) -> None:
        if not loss < float("inf"):
            raise PretrainingError(
                f"{self.folder.path}: the loss is {loss} at step {self.step}; lower the rate of {self.settings.rate}"
            )
        self.running = loss if self.running is None else 0.5 * self.running + 0.5 * loss
        self._count_time()
        facts = {
            "step": self.step,
            "steps": self.settings.steps,
            "tokens": self.step * self.settings.batch_tokens,
            "loss": round(loss, 4),
            **self._speeds(),
        }
        self.folder.progress(facts)
        self.tell(
            f"step {self.step}/{self.settings.steps} loss {loss:.3f} {facts['tokens_per_second']} tokens/s, "
            f"{facts['tokens_per_processor_second']} a processor-second"
        )

    def _count_time(self) -> None:
        now = _clocks()
        self.seconds = {name: self.seconds[name] + now[name] - self._clocks[name] for name in now}
        self._clocks = now

    def _speeds(self) -> dict[str, Any]:
        tokens = self.step * self.settings.batch_tokens
        return {
            "processor_hours": round(self.seconds["processor"] / 3600, 4),
            "tokens_per_second": round(tokens / max(self.seconds["wall"], 1e-9)),
            "tokens_per_processor_second": round(tokens / max(self.seconds["processor"], 1e-9)),
        }

    def save(self) -> None:
        """Write model folder, record and state; keep the state where other runs may begin."""
        losses = _held_out_losses(self.model, self._held_out)
        self._count_time()
        row = {
            "step": self.step,
            "tokens": self.step * self.settings.batch_tokens,
            "train": round(self.running or 0.0, 4),
        }
        self.history = [*(entry for entry in self.history if entry["step"] < self.step), row | losses]
        record = {
            "finished": self.step == self.settings.steps,
            **self.described,
            "step": self.step,
            "tokens": row["tokens"],
            **self._speeds(),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "train_loss": row["train"],
            "held_out_loss": losses,
            "balance": BALANCE,
            "mixture": WEIGHTS,
            "instruction_stage": STAGE,
            "accelerator": self.fabric.device.type,
            "threads": torch.get_num_threads(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }
        state = {
            "settings": self.described,
            "step": self.step,
            "running": self.running,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        self.folder.save(self.model, self.tokenizer, record, state, keep=self.step in self.kept)
        self.tell(f"saved at step {self.step}; held-out losses {losses}")

    @cached_property
    def _held_out(self) -> dict[str, Tensor]:
        """Fixed rows of held-out text per domain, [rows, length]."""
        encode = encoder(self.tokenizer)
        rows: dict[str, Tensor] = {}
        for domain in WEIGHTS:
            ids: list[int] = []
            texts = domain_texts(domain, 0, held_out=True)
            while len(ids) < _HELD_OUT_ROWS * _HELD_OUT_LENGTH:
                ids += [self.tokenizer.bos_token_id, *encode([next(texts)])[0], self.tokenizer.eos_token_id]
            kept = torch.tensor(ids[: _HELD_OUT_ROWS * _HELD_OUT_LENGTH])
            rows[domain] = kept.view(_HELD_OUT_ROWS, _HELD_OUT_LENGTH).to(self.fabric.device)
        return rows


def _clocks() -> dict[str, float]:
    return {"wall": time.monotonic(), "processor": time.process_time()}


def make_optimizers(model: PreTrainedModel) -> tuple[torch.optim.AdamW, torch.optim.Muon]:
    """AdamW for experts, routers, embeddings and norms, Muon for the matrices of attention and dense layers.

    Muon (Jordan et al., 2024; with the scale of Liu et al., arXiv 2502.16982, which trained Moonlight) makes every
    direction of a matrix learn at the same speed: after 1.2M tokens of the opening the model copies 62 % of a repeated
    line's tokens with it, 41 % with AdamW alone (one seed). Weight decay is on matrices, not on norms and
    embeddings. The loop sets the rates.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [p for name, p in named if p.ndim == 2 and not any(part in name for part in ("embed", "head", "gate."))]
    others = [(name, p) for name, p in named if all(p is not matrix for matrix in matrices)]
    plain = [p for name, p in others if p.ndim < 2 or "embed" in name]
    decayed = [p for name, p in others if not (p.ndim < 2 or "embed" in name)]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)
    return adamw, torch.optim.Muon(matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw")


@torch.no_grad()
def _held_out_losses(model: PreTrainedModel, rows: Mapping[str, Tensor]) -> dict[str, float]:
    model.eval()
    losses = {}
    for domain, ids in rows.items():
        logits = model(input_ids=ids, use_cache=False).logits
        losses[domain] = round(F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item(), 4)
    model.train()
    return losses
