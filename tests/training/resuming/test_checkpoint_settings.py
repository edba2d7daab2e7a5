"""What a resumed run may change takes effect; everything else is refused by name, with both values."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from training_runs import Losses, make_data, make_module, make_trainer, train, write_base, write_rows

from esft_lightning.strategies import ESFTToken, FineTuningStrategy, FullFineTuning, LoRA, RelevantExpertLoRA
from esft_lightning.training.resuming import CheckpointError
from esft_lightning.training.resuming.optimizer import construction, keep_new_settings, settle_schedules


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def checkpoint_of(folder: Path, base: str, rows: str, strategy: FineTuningStrategy, **settings: Any) -> str:
    train(
        folder, base, rows, strategy, steps=2, module=settings, enable_checkpointing=True,
        callbacks=[ModelCheckpoint(folder, "two", every_n_train_steps=2)],
    )  # fmt: skip
    return str(folder / "two.ckpt")


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (LoRA(rank=2), LoRA(rank=2, scaling=64.0), r"model\.strategy\.scaling was 2\.0 and is 64\.0"),
        (LoRA(rank=2), LoRA(rank=3), r"model\.strategy\.rank was 2 and is 3"),
        (ESFTToken(), ESFTToken(top_p=0.5), r"model\.strategy\.top_p was 0\.2 and is 0\.5"),
        (ESFTToken(), ESFTToken(average="sample"), r"model\.strategy\.average was 'token' and is 'sample'"),
        (RelevantExpertLoRA(rank=2), RelevantExpertLoRA(rank=2, scaling=3.0), r"scaling was 2\.0 and is 3\.0"),
        (FullFineTuning(), FullFineTuning(freeze_router=True), r"freeze_router was False and is True"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_another_setting_of_the_strategy_is_refused_by_every_verb(
    then: FineTuningStrategy, now: FineTuningStrategy, said: str, base: str, rows: str, tmp_path: Path
) -> None:
    path = checkpoint_of(tmp_path, base, rows, then)
    with pytest.raises(CheckpointError, match=said):
        train(tmp_path, base, rows, now, steps=3, ckpt_path=path)
    trainer = make_trainer(tmp_path, limit_val_batches=1.0)
    with pytest.raises(CheckpointError, match=said):
        trainer.validate(make_module(base, now), datamodule=make_data(base, rows), ckpt_path=path, verbose=False)


def test_another_base_is_refused_by_the_settings_that_make_it_one(base: str, rows: str, tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path, base, rows, LoRA(rank=2))
    other = write_base(tmp_path / "other", hidden_size=16)
    with pytest.raises(CheckpointError, match=rf"base_fingerprint.*model\.base was '{base}' and is '{other}'"):
        train(tmp_path, other, rows, LoRA(rank=2), steps=3, ckpt_path=path)
    with pytest.raises(CheckpointError, match=r"model\.dtype was 'float32' and is 'bfloat16'"):
        train(tmp_path, base, rows, LoRA(rank=2), steps=3, ckpt_path=path, module={"dtype": "bfloat16"})


def test_a_checkpoint_and_an_adapter_at_once_are_refused(base: str, rows: str, tmp_path: Path) -> None:
    from esft_lightning.adapters import save_adapter

    path = checkpoint_of(tmp_path, base, rows, LoRA(rank=2))
    module, _, _ = train(tmp_path, base, rows, LoRA(rank=2), steps=1)
    save_adapter(
        module.model, tmp_path / "adapter", strategy="LoRA", base=base, base_fingerprint=module.base_fingerprint
    )
    both = make_module(base, LoRA(rank=2), adapter=str(tmp_path / "adapter"))
    with pytest.raises(CheckpointError, match=r"model\.adapter=.*leave one of them out"):
        make_trainer(tmp_path).validate(both, datamodule=make_data(base, rows), ckpt_path=path, verbose=False)


def test_rate_and_optimizer_settings_take_effect(
    base: str, rows: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = checkpoint_of(tmp_path, base, rows, LoRA(rank=2))
    _, _, trainer = train(
        tmp_path, base, rows, LoRA(rank=2, learning_rate=5e-4), steps=3, ckpt_path=path,
        module={"weight_decay": 0.3, "betas": (0.8, 0.9)},
    )  # fmt: skip
    (group,) = trainer.optimizers[0].param_groups
    assert group["lr"] == pytest.approx(5e-4 * 100) and group["weight_decay"] == 0.3
    assert tuple(group["betas"]) == (0.8, 0.9)
    assert "lr 0.01 → 0.05" in caplog.text and "weight_decay 0.1 → 0.3" in caplog.text
    # The resumed run's own checkpoint knows the new settings.
    trainer.save_checkpoint(tmp_path / "three.ckpt")
    saved = torch.load(tmp_path / "three.ckpt", weights_only=True)["esft_lightning"]["construction"]
    assert saved["groups"][0]["lr"] == pytest.approx(0.05)


def test_a_new_rate_scales_what_a_schedule_has_come_to(base: str, rows: str, tmp_path: Path) -> None:
    schedule: Any = partial(LambdaLR, lr_lambda=_half_each_step)
    path = checkpoint_of(tmp_path, base, rows, LoRA(rank=2), lr_scheduler=schedule)
    losses = Losses()
    _, _, trainer = train(
        tmp_path, base, rows, LoRA(rank=2, learning_rate=4e-4), steps=3, ckpt_path=path,
        module={"lr_scheduler": schedule}, callbacks=[losses],
    )  # fmt: skip
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(4e-4 * 100 * 0.5**3)


def _half_each_step(step: int) -> float:
    return 0.5**step


SCHEDULES: dict[str, Any] = {
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=10),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=0.5, total_steps=12),
    "warmup": lambda optimizer: SequentialLR(
        optimizer, [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, T_max=9)], milestones=[3]
    ),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, patience=0, factor=0.5),
}


class _Engine:
    """The three things that are read of a Trainer, around one weight."""

    def __init__(self, schedule: Any, lr: float = 0.1) -> None:
        self.weight = torch.nn.Parameter(torch.ones(2, 2))
        optimizer = torch.optim.AdamW([{"params": [self.weight]}], lr=lr)
        self.optimizers = [optimizer]
        scheduler = schedule(optimizer)
        self.lr_scheduler_configs = [type("Config", (), {"scheduler": scheduler})()]
        self.made = construction(self)  # type: ignore[arg-type]

    def steps(self, count: int) -> list[float]:
        (optimizer,), scheduler, rates = self.optimizers, self.lr_scheduler_configs[0].scheduler, []
        for _ in range(count):
            self.weight.grad = torch.ones(2, 2)
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step(1.0) if isinstance(scheduler, ReduceLROnPlateau) else scheduler.step()
        return rates

    def resume(self, old: "_Engine") -> None:
        keep_new_settings(self, old.made)  # type: ignore[arg-type]
        self.optimizers[0].load_state_dict(old.optimizers[0].state_dict())
        state = old.lr_scheduler_configs[0].scheduler.state_dict()
        self.lr_scheduler_configs[0].scheduler.load_state_dict(state)
        settle_schedules(self, old.made, self.made)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_goes_on_exactly_where_nothing_changed(name: str) -> None:
    whole = _Engine(SCHEDULES[name]).steps(10)
    old = _Engine(SCHEDULES[name])
    assert old.steps(4) == whole[:4]
    resumed = _Engine(SCHEDULES[name])
    resumed.resume(old)
    assert resumed.steps(6) == whole[4:]


@pytest.mark.parametrize("name", ["cosine", "warmup", "plateau"])
def test_a_resumed_schedule_runs_at_the_new_rate(name: str) -> None:
    old = _Engine(SCHEDULES[name])
    old.steps(4)
    resumed = _Engine(SCHEDULES[name], lr=0.3)
    resumed.resume(old)
    assert resumed.steps(6) == pytest.approx(_Engine(SCHEDULES[name], lr=0.3).steps(10)[4:])


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ("cosine", lambda o: CosineAnnealingLR(o, T_max=20), r"model\.lr_scheduler\.T_max was 10 and is 20"),
        ("cosine", SCHEDULES["one cycle"], r"model\.lr_scheduler was CosineAnnealingLR .* and is OneCycleLR"),
        ("plateau", lambda o: ReduceLROnPlateau(o, patience=3, factor=0.5), r"patience was 0 and is 3"),
    ],
)
def test_another_schedule_is_refused_by_name(then: str, now: Any, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        _Engine(now).resume(_Engine(SCHEDULES[then]))


def test_a_schedule_that_was_not_there_is_refused(base: str, rows: str, tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path, base, rows, LoRA(rank=2))
    with pytest.raises(CheckpointError, match=r"model\.lr_scheduler was none in the checkpoint and is LambdaLR"):
        train(
            tmp_path, base, rows, LoRA(rank=2), steps=3, ckpt_path=path,
            module={"lr_scheduler": partial(LambdaLR, lr_lambda=_half_each_step)},
        )  # fmt: skip
