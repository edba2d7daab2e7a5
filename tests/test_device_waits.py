"""Nothing in a training step waits for an accelerator: seen without one, by operators that need a value on the host."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from tiny_models import deepseek_model
from training_runs import make_data, make_module, make_trainer, write_base, write_rows

from benchmarks.gpu.waits import DeviceWaitError, device_waits
from esft_lightning.data.host_side import known_on_host
from esft_lightning.moe import SYNC_FREE, RoutingTap, install_banks, widened_arithmetic
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.strategies import ESFTToken, FullFineTuning, LoRA

CPU = torch.device("cpu")
SELECTION = {1: [5, 2], 2: [0, 3, 7]}


def multiplies_as_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 goes the way of devices that have arithmetic for it, whatever this CPU has."""
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: True)


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, 96, (2, 24), generator=torch.Generator().manual_seed(seed))
    labels = ids.masked_fill(torch.arange(24) < 7, -100)
    return {
        "input_ids": ids,
        "labels": labels,
        "position_ids": torch.arange(24).remainder(9).expand(2, -1).contiguous(),
    }


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.numpy(),
        lambda x: bool(x.any()),
        lambda x: int(x[0]),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: x.long().bincount(),
        lambda x: torch.equal(x, x),
        lambda x: torch.where(x > 0),
        lambda x: x.__setitem__(x > 0, 1.0),
        lambda x: x.new_tensor(3),
        lambda x: torch.tensor(3),
        lambda x: x.repeat_interleave(torch.ones(5, dtype=torch.long)),
    ],
)
def test_the_watch_sees_every_kind_of_wait(wait: Any) -> None:
    x = torch.arange(5.0)
    with pytest.raises(DeviceWaitError), device_waits(CPU):
        wait(x)


def test_the_watch_lets_what_does_not_wait_pass() -> None:
    x = torch.arange(5.0)
    with device_waits(CPU) as waits:
        x[torch.ones(2, dtype=torch.long)] + x.new_full((), 3) + x.repeat_interleave(2)[:2].masked_fill(x[:2] > 0, 1)
    assert waits == []


def model_with_banks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, LabelledTokenLoss]:
    """A model with trained experts whose products are taken as on an accelerator, and its loss."""
    multiplies_as_an_accelerator(monkeypatch)
    model = deepseek_model(dtype=dtype).requires_grad_(False).train()
    install_banks(model, SELECTION)
    return model, LabelledTokenLoss(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_sync_free_forward_and_backward_with_the_loss_wait_for_nothing(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, loss = model_with_banks(dtype, monkeypatch)
    prepared = known_on_host(batch(), pin=False)
    expected = loss(batch())
    model.set_experts_implementation(SYNC_FREE)
    with device_waits(CPU):
        found = loss(prepared)
        found.total.backward()
    assert found.tokens == expected.tokens == 2 * (17 - 2)  # two samples of each row begin among the labels
    assert torch.allclose(found.total, expected.total, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_other_forward_waits_once_a_layer_and_its_backward_not_at_all(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, loss = model_with_banks(dtype, monkeypatch)
    prepared = known_on_host(batch(), pin=False)
    with device_waits(CPU, refused=False) as forward:
        total = loss(prepared).total
    assert [wait for wait in forward if "_local_scalar" in wait] == forward[1::2], "int() and the operator below it"
    assert len(forward) == 2 * 2, "two layers with banks"
    with device_waits(CPU):
        total.backward()


def test_without_what_the_host_knows_the_loss_is_the_same_and_waits() -> None:
    loss = LabelledTokenLoss(deepseek_model().requires_grad_(False))
    with device_waits(CPU, refused=False) as waits:
        plain = loss(batch())
    assert any(wait.startswith("nonzero") for wait in waits)
    prepared = loss(known_on_host(batch(), pin=False))
    assert torch.equal(plain.total, prepared.total) and plain.tokens == prepared.tokens


@pytest.mark.parametrize("restarts", [True, False])
def test_transformers_attends_as_if_it_had_looked_at_the_positions(restarts: bool) -> None:
    model = deepseek_model().eval()
    given = batch()
    if not restarts:
        given["position_ids"] = torch.arange(24).expand(2, -1).contiguous()
    loss = LabelledTokenLoss(model)
    prepared = known_on_host(given, pin=False)
    assert prepared["restarts"] is restarts
    with torch.no_grad():
        assert torch.equal(loss(given).total, loss(prepared).total)
        wrong = loss({**prepared, "restarts": not restarts}).total
    assert restarts == bool((wrong - loss(given).total).abs() > 1e-4), "the answer must matter where samples are packed"


def test_a_tap_with_a_mask_on_the_host_waits_for_nothing_else() -> None:
    model = deepseek_model()
    mask = torch.ones(2, 24, dtype=torch.bool)
    mask[1, 9:] = False
    with RoutingTap(model).record(mask) as routing, torch.no_grad(), device_waits(CPU, refused=False) as waits:
        model.model(input_ids=batch()["input_ids"], use_cache=False)
    assert [wait.partition(" ")[0] for wait in waits if "routing.py" in wait] == ["nonzero"], "once for both layers"
    assert routing[1].top_k_index.shape == (33, 2)


class _Watched(Callback):
    """Notes waits in the batches of steps that the Trainer does not log, the first step left out."""

    def __init__(self, every: int) -> None:
        self.every, self.batches, self.waits = every, 0, []
        self._open = ExitStack()
        self._now: list[str] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.global_step + 1) % self.every and trainer.global_step:
            self._now = self._open.enter_context(device_waits(CPU, refused=False))
            self.batches += 1

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._open.close()
        self.waits += self._now
        self._now = []


@pytest.mark.parametrize("strategy", [ESFTToken, FullFineTuning, LoRA])
@pytest.mark.parametrize("packed", [True, False])
def test_a_whole_training_step_waits_for_nothing_between_logs(strategy: Any, packed: bool, tmp_path: Path) -> None:
    watch = _Watched(4)
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    trainer = make_trainer(
        tmp_path, max_steps=7, callbacks=[watch], log_every_n_steps=4, accumulate_grad_batches=2,
        logger=CSVLogger(tmp_path),
    )  # fmt: skip
    module = make_module(base, strategy(), sync_free_experts=strategy is ESFTToken)
    trainer.fit(module, datamodule=make_data(base, rows, batch_size=2, cross_sample_attention=not packed))
    assert watch.batches >= 8
    assert watch.waits == []
    assert trainer.logged_metrics["train/loss"] > 0, "the step that is logged is not watched"
