"""`ExpertFineTuner`: what is optimised, how gradients are normalised, what precision does."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim.lr_scheduler import LambdaLR
from training_runs import make_data, make_module, make_trainer, train, trained_values, write_base, write_rows

from esft_lightning.strategies import (
    ESFT,
    ESFTGate,
    ESFTToken,
    FineTuningStrategy,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    RandomExperts,
    trained_parameters,
)
from esft_lightning.tasks.task_score import TaskScore
from esft_lightning.training.module import ExpertFineTuner

STRATEGIES: list[FineTuningStrategy] = [
    FullFineTuning(), LoRA(rank=2), FrozenExperts(), ESFTGate(), ESFTToken(), RandomExperts(),
    ESFT(routed_experts=False, shared_experts=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: f"{s.name}")
def test_optimizer_and_state_dict_hold_what_is_trained_and_nothing_else(
    strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path
) -> None:
    module, losses, trainer = train(tmp_path, base, rows, strategy, steps=2)
    trained = trained_parameters(module.model)
    optimised = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert trained and optimised == {id(p) for p in trained.values()}
    assert set(module.state_dict()) == {f"model.{name}" for name in trained}
    assert all(group["lr"] == strategy.learning_rate * 100 for group in trainer.optimizers[0].param_groups)
    assert len(losses) == 2


def test_frozen_parameters_keep_their_bits_and_trained_ones_move(base: str, rows: str, tmp_path: Path) -> None:
    module, _, _ = train(tmp_path, base, rows, ESFTGate(), steps=3)
    fresh = make_module(base, ESFTGate()).load_base()
    now = dict(module.model.named_parameters())
    assert all(torch.equal(parameter, now[name]) for name, parameter in fresh.named_parameters())
    bank = next(p for name, p in now.items() if "trained_bank" in name and p.requires_grad)
    assert bank.grad is None or torch.isfinite(bank.grad).all()
    fresh_experts = fresh.model.layers[1].mlp.experts
    trained_experts = module.model.model.layers[1].mlp.experts
    ids = trained_experts.trained_bank.expert_ids
    assert not torch.equal(trained_experts.trained_bank.down_proj, fresh_experts.down_proj[ids])


@pytest.mark.parametrize("strategy", [ESFTGate(), FullFineTuning()], ids=["ESFTGate", "FullFineTuning"])
def test_accumulating_four_micro_batches_equals_one_batch(
    strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path
) -> None:
    # Several epochs, so that windows cut short by an epoch's end are among the steps.
    plain, plain_losses, _ = train(tmp_path, base, rows, strategy, steps=8, data={"batch_size": 4})
    split, split_losses, _ = train(
        tmp_path, base, rows, strategy, steps=8, data={"batch_size": 1, "val_batch_size": 4}, accumulate_grad_batches=4
    )
    assert plain_losses.keys() == split_losses.keys() == set(range(1, 9))
    for step, loss in plain_losses.items():
        assert split_losses[step] == pytest.approx(loss, abs=2e-5)
    assert split_losses[1] == pytest.approx(plain_losses[1], abs=1e-6)
    for name, value in trained_values(plain).items():
        torch.testing.assert_close(split.state_dict()[name], value, atol=2e-4, rtol=0)


class _Gradients(Callback):
    """The gradients as the optimizer's step meets them, with the weights that they belong to."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, dict[str, torch.Tensor], list[Any]]] = []
        self._batches: list[Any] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self._batches:
            self._model = copy.deepcopy(pl_module.model)
        self._batches.append(batch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self._batches) == trainer.accumulate_grad_batches:
            grads = {n: p.grad.clone() for n, p in pl_module.model.named_parameters() if p.grad is not None}
            self.seen.append((self._model, grads, self._batches))
            self._batches = []


@pytest.mark.parametrize("clip", [None, 0.05])
def test_gradient_is_that_of_the_mean_over_labelled_tokens_clipped(
    clip: float | None, base: str, rows: str, tmp_path: Path
) -> None:
    record = _Gradients()
    train(
        tmp_path, base, rows, ESFTToken(), steps=2, callbacks=[record], gradient_clip_val=clip,
        data={"batch_size": 2}, accumulate_grad_batches=2,
    )  # fmt: skip
    assert len(record.seen) == 2
    for model, grads, batches in record.seen:
        total, count = 0.0, 0
        for batch in batches:
            labels = batch["labels"]
            count += int((labels[:, 1:] != -100).sum())
            out = model(input_ids=batch["input_ids"], labels=labels, use_cache=False)
            total = total + out.loss * (labels[:, 1:] != -100).sum()
        names = list(grads)
        expected = torch.autograd.grad(total / count, [model.get_parameter(name) for name in names])
        norm = torch.stack([g.norm() for g in expected]).norm()
        scale = 1.0 if clip is None else min(1.0, clip / (float(norm) + 1e-6))
        assert clip is None or norm > clip
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(grads[name], gradient * scale, atol=1e-6, rtol=1e-4)


def test_bf16_base_trains_fp32_masters(base: str, rows: str, tmp_path: Path) -> None:
    module, losses, _ = train(tmp_path, base, rows, ESFTGate(), steps=2, module={"dtype": "bfloat16"})
    dtypes = {p.dtype for p in module.model.parameters() if not p.requires_grad}
    assert dtypes == {torch.bfloat16}
    assert {p.dtype for p in trained_parameters(module.model).values()} == {torch.float32}
    assert losses[2] < losses[1] + 1


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_precisions_that_work(precision: str, base: str, rows: str, tmp_path: Path) -> None:
    _, losses, trainer = train(tmp_path, base, rows, ESFTGate(), steps=2, precision=precision)
    assert len(losses) == 2
    assert trainer.optimizers[0].defaults["fused"] is (precision == "32-true")


def test_bf16_true_is_refused_with_the_way_out(base: str, rows: str, tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=r"model\.dtype=bfloat16"):
        train(tmp_path, base, rows, ESFTGate(), steps=1, precision="bf16-true")


def test_gradient_checkpointing_changes_no_loss(base: str, rows: str, tmp_path: Path) -> None:
    _, plain, _ = train(tmp_path, base, rows, ESFTToken(), steps=3)
    module, recomputed, _ = train(tmp_path, base, rows, ESFTToken(), steps=3, module={"gradient_checkpointing": True})
    assert module.model.is_gradient_checkpointing
    assert recomputed == pytest.approx(plain, abs=1e-5)


def test_rate_is_constant_unless_a_schedule_is_given(base: str, rows: str, tmp_path: Path) -> None:
    def halving(optimizer: torch.optim.Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, lambda step: 0.5**step)

    for schedule, last in ((None, 1e-3), (halving, 1e-3 / 4)):
        _, _, trainer = train(
            tmp_path, base, rows, ESFTToken(), steps=3, module={"lr_scheduler": schedule},
            data={"batch_size": 2}, accumulate_grad_batches=2, log_every_n_steps=1,
        )  # fmt: skip
        assert float(trainer.callback_metrics["train/learning_rate"]) == pytest.approx(last)


@pytest.mark.parametrize("every", [0, 2])
def test_rate_and_speed_are_logged_when_the_trainer_logs(base: str, rows: str, tmp_path: Path, every: int) -> None:
    taken: list[dict[str, float]] = []

    class Kept(DummyLogger):
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # type: ignore[override]
            taken.append(dict(metrics))

    train(
        tmp_path, base, rows, ESFTToken(), steps=5, logger=Kept(), log_every_n_steps=every,
        module={"lr_scheduler": lambda optimizer: LambdaLR(optimizer, lambda step: 0.5**step)},
    )  # fmt: skip
    logged = [metrics for metrics in taken if "train/loss" in metrics]
    assert [metrics["train/learning_rate"] for metrics in logged] == pytest.approx([1e-3 / 2, 1e-3 / 8][:every])
    assert all(metrics["train/tokens_per_second"] > 0 for metrics in logged)


def test_validation_loss_is_the_mean_over_labelled_tokens(base: str, rows: str, tmp_path: Path) -> None:
    module, data = make_module(base, FullFineTuning()), make_data(base, rows, val_fraction=0.4, val_batch_size=2)
    trainer = make_trainer(tmp_path, limit_val_batches=1.0)
    trainer.validate(module, datamodule=data, verbose=False)
    total, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for batch in data.val_dataloader():
            logits = module.model(input_ids=batch["input_ids"], use_cache=False).logits[:, :-1].float()
            targets = batch["labels"][:, 1:]
            kept = targets != -100
            total += float(torch.nn.functional.cross_entropy(logits[kept], targets[kept], reduction="sum"))
            correct += int((logits[kept].argmax(-1) == targets[kept]).sum())
            count += int(kept.sum())
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(total / count, abs=1e-5)
    assert float(trainer.callback_metrics["val/token_accuracy"]) == pytest.approx(correct / count, abs=1e-6)


def test_every_strategy_meets_the_same_batches_profile_cached_or_not(base: str, rows: str, tmp_path: Path) -> None:
    class Order(Callback):
        def __init__(self) -> None:
            self.rows: list[list[int]] = []

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self.rows.append(batch["row_index"].tolist())

    orders = []
    for strategy in (FullFineTuning(), LoRA(rank=2), ESFTGate(), ESFTGate(), RandomExperts()):
        order = Order()
        train(tmp_path, base, rows, strategy, steps=14, callbacks=[order])
        orders.append(order.rows)
    assert len(orders[0]) == 14
    assert all(order == orders[0] for order in orders)


def test_test_scores_the_task_and_predict_returns_completions(base: str, rows: str, tmp_path: Path) -> None:
    samples = tmp_path / "test.jsonl"
    answer = '{\\"intent\\": \\"a\\", \\"slots\\": {}}'
    samples.write_text(f'{{"prompt": "User: say 3\\n\\nAssistant:", "raw_answers": ["{answer}"]}}\n' * 3)
    module = make_module(base, FullFineTuning(), max_new_tokens=4, general_ability=False)
    data = make_data(base, rows, test_files=str(samples))
    trainer = make_trainer(tmp_path)
    trainer.test(module, datamodule=data, verbose=False)
    assert float(trainer.callback_metrics["test/intent/score"]) == 0.0
    batches = trainer.predict(module, datamodule=data)
    assert batches is not None
    row = batches[0][0]  # type: ignore[index]
    assert set(row) == {"example", "score"} and set(row["example"]) == {"prompt", "raw_prediction", "raw_answers"}


@pytest.mark.parametrize("missing", [(), ("file system (Landlock): Function not implemented",)])
def test_a_test_of_code_counts_missing_walls(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esft_lightning.scoring.sandbox.missing_walls", lambda: missing)
    logged: dict[str, float] = {}
    for task, options in (("code", {"allow_code_execution": True}), ("law", None)):
        module = ExpertFineTuner(ESFTGate(), base="tiny", general_ability=False)
        module.task_score = TaskScore(task, options)
        monkeypatch.setattr(module, "log", lambda name, value: logged.update({name: float(value)}))
        module.on_test_epoch_end()
    assert logged["test/code/missing_walls"] == len(missing)
    assert "test/law/missing_walls" not in logged
