"""A module knows its settings, and a checkpoint alone makes the module again."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from training_runs import make_data, make_trainer, train, write_base, write_rows

from esft_lightning.affinity import ExpertSelection
from esft_lightning.errors import UserError
from esft_lightning.strategies import (
    ESFT,
    ESFTGate,
    ESFTToken,
    FineTuningStrategy,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    RandomExperts,
    RelevantExpertLoRA,
)
from esft_lightning.training.hyper_parameters import constructor_settings, plain, rebuilt_strategy, strategy_settings
from esft_lightning.training.module import ExpertFineTuner


class Norms(FineTuningStrategy):
    """A strategy from outside that keeps its argument under its name."""

    def __init__(self, part: str = "norm") -> None:
        super().__init__(3e-4)
        self.part = part

    def make_trainable(self, model: Any, selection: ExpertSelection | None = None) -> None:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.part in name)


class Hidden(Norms):
    """A strategy from outside that keeps its argument elsewhere."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(words[0])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


@pytest.mark.parametrize(
    "strategy",
    [
        FullFineTuning(freeze_router=True), FrozenExperts(), LoRA(rank=3, parts=["attention", "routed experts"]),
        ESFT(score="gate", top_k=2, shared_experts=True), ESFTGate(average="sample", learning_rate=1e-3), ESFTToken(),
        RandomExperts(score="gate", seed=5), RelevantExpertLoRA(rank=2, top_k=1), Norms("layernorm"),
    ],
    ids=lambda strategy: strategy.name,
)  # fmt: skip
def test_a_strategy_is_made_again_from_plain_data(strategy: FineTuningStrategy) -> None:
    described = json.loads(json.dumps(constructor_settings({"strategy": strategy, "self": None})))["strategy"]
    described["init_args"] = strategy_settings(strategy)
    again = rebuilt_strategy(described)
    assert type(again) is type(strategy) and strategy_settings(again) == strategy_settings(strategy)
    assert again.learning_rate == strategy.learning_rate


def test_a_strategy_that_cannot_be_made_again_is_refused_with_the_way_out() -> None:
    described = constructor_settings({"strategy": Hidden(["norm"])})["strategy"]
    with pytest.raises(UserError, match=r"Hidden.*give strategy="):
        rebuilt_strategy(described)


@pytest.mark.parametrize(
    "path", ["os.system", "not_imported_yet.Mine", "esft_lightning.training.module.ExpertFineTuner"]
)
def test_a_checkpoint_makes_no_other_code_run(path: str) -> None:
    with pytest.raises(UserError, match=r"import .* first, or give strategy="):
        rebuilt_strategy({"class_path": path, "init_args": {}})


def test_plain_data_load_with_weights_only(tmp_path: Path) -> None:
    values = {
        "path": Path("a"), "dtype": torch.bfloat16, "tuple": (1, 2.0), "set": {1}, "function": partial(print),
        "class": LoRA, "selection": ExpertSelection({1: [2]}), "none": None, 3: torch.ones(2),
    }  # fmt: skip
    torch.save(plain(values), tmp_path / "plain")
    loaded = torch.load(tmp_path / "plain", weights_only=True)
    assert loaded["path"] == "a" and loaded["dtype"] == "bfloat16" and loaded["tuple"] == (1, 2.0)
    assert loaded["class"] == "esft_lightning.strategies.lora.LoRA" and loaded[3] == [1.0, 1.0]


@pytest.mark.parametrize("strategy", [ESFTGate(average="sample"), LoRA(rank=2), Norms()], ids=lambda s: s.name)
def test_load_from_checkpoint_needs_nothing_but_the_file(
    strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    schedule: Any = partial(LambdaLR, lr_lambda=lambda step: 1.0)
    settings = {"lr_scheduler": schedule, "max_new_tokens": 7}
    module, _, trainer = train(tmp_path, base, rows, strategy, steps=2, module=settings)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    loaded = ExpertFineTuner.load_from_checkpoint(tmp_path / "two.ckpt")
    assert loaded.selection == module.selection and loaded.max_new_tokens == 7
    assert strategy_settings(loaded.strategy) == strategy_settings(strategy)
    assert loaded.hparams["strategy"] == module.hparams["strategy"]
    assert module.hparams["lr_scheduler"] == "functools.partial"
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        wanted, got = (m.model.eval()(ids, use_cache=False).logits for m in (module, loaded))
    assert torch.equal(wanted, got)
    assert not [str(warning.message)[:80] for warning in recwarn if "state dict" in str(warning.message)]
    # It goes on from there: validation and another fit take it as it is.
    make_trainer(tmp_path, limit_val_batches=1.0).validate(loaded, datamodule=make_data(base, rows), verbose=False)
    make_trainer(tmp_path, max_steps=1).fit(loaded, datamodule=make_data(base, rows))


def test_load_from_checkpoint_takes_other_settings_where_they_are_given(base: str, rows: str, tmp_path: Path) -> None:
    _, _, trainer = train(tmp_path, base, rows, LoRA(rank=2), steps=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    loaded = ExpertFineTuner.load_from_checkpoint(tmp_path / "one.ckpt", max_new_tokens=5, strategy=LoRA(rank=2))
    assert loaded.max_new_tokens == 5
    with pytest.raises(UserError, match=r"rank was 2 and is 4"):
        ExpertFineTuner.load_from_checkpoint(tmp_path / "one.ckpt", strategy=LoRA(rank=4))
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(UserError, match=r"does not say how it was trained"):
        ExpertFineTuner.load_from_checkpoint(tmp_path / "foreign.ckpt")
