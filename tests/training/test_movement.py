"""A run ends in an error that names what should have moved and did not; experts that no token reached are a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import deepseek_model
from torch import nn
from training_runs import train, write_base, write_rows

from esft_lightning.affinity import ExpertSelection
from esft_lightning.comparison.best_weights import BestWeights
from esft_lightning.strategies import ESFTToken, FineTuningStrategy, FullFineTuning, LoRA, trained_parameters
from esft_lightning.training.callbacks import AdapterCheckpoint
from esft_lightning.training.movement import Movement, NotMovedError

IDS = torch.randint(3, 96, (4, 64), generator=torch.Generator().manual_seed(0))
NORM = "model.norm.weight"


def after(
    model: nn.Module, steps: int = 2, rate: float = 1e-3, between: Callable[[], None] = lambda: None, **options: Any
) -> Movement:
    """Train a model, or pretend to, and look at it."""
    movement = Movement(model)
    optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=rate, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
        between()
    movement.look([optimizer])
    return movement


def check(movement: Movement, steps: int = 2, rate: float = 1e-3, whole: bool = True) -> list[str]:
    """The warnings of a check."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        movement.check(steps, rate=rate, opens_whole_parts=whole)
    return [str(warning.message) for warning in seen if issubclass(warning.category, UserWarning)]


@pytest.mark.parametrize("strategy", [FullFineTuning(), LoRA(), ESFTToken()], ids=lambda strategy: strategy.name)
def test_what_moves_is_not_spoken_of(strategy: FineTuningStrategy) -> None:
    selection = ExpertSelection({1: [5, 2], 2: [7]}) if strategy.needs_profile else None
    model = strategy.apply(deepseek_model(dtype=torch.bfloat16), selection)
    assert check(after(model, weight_decay=0.0)) == []


def test_bf16_weights_at_a_fine_tuning_rate_are_named() -> None:
    """What masters are for."""
    model = FullFineTuning().apply(deepseek_model(dtype=torch.bfloat16), masters=False)
    with pytest.raises(NotMovedError, match=r"did not move in 2 steps, though they had gradients: .*norm\.wei.*2e-06"):
        check(after(model, rate=2e-6, weight_decay=0.0), rate=2e-6)


def test_a_rate_of_zero_is_said_to_be_one() -> None:
    model = FullFineTuning().apply(deepseek_model())
    with pytest.raises(NotMovedError, match=r"'model\.embed_tokens\.weight', .* and \d+ more; the learning rate is 0"):
        check(after(model, rate=0.0), rate=0.0)


def test_one_weight_that_is_held_back_is_named_alone() -> None:
    model = FullFineTuning().apply(deepseek_model())
    norm, start = model.get_parameter(NORM), model.get_parameter(NORM).detach().clone()
    movement = after(model, between=lambda: norm.data.copy_(start))
    with pytest.raises(
        NotMovedError, match=rf"1 trained parameters or experts did not move .* gradients: '{NORM}'; a learning"
    ):
        check(movement)


def test_one_experts_weights_are_named_with_its_number() -> None:
    model = ESFTToken().apply(deepseek_model(), ExpertSelection({1: [5, 2], 2: [7]}))
    bank = model.model.layers[1].mlp.experts.trained_bank
    starts = [parameter.detach()[1].clone() for parameter in bank.parameters()]

    def hold_back() -> None:  # the second of [2, 5]
        for parameter, start in zip(bank.parameters(), starts, strict=True):
            parameter.data[1] = start

    with pytest.raises(NotMovedError, match=r"1 trained .*'model\.layers\.1\.mlp\.experts\[5\]'"):
        check(after(model, between=hold_back))


def test_an_expert_that_no_token_reaches_is_a_warning() -> None:
    model = deepseek_model()
    router = model.model.layers[1].mlp.gate
    with torch.no_grad():
        router.weight[2] = 0  # every logit is 0 …
        router.weight[[0, 1, 3, 4]] = torch.randn(1, 32) * torch.tensor([[3.0], [-3.0], [2.0], [-2.0]])  # two above it
    ESFTToken().apply(model, ExpertSelection({1: [2, 5], 2: [7]}))
    (said,) = check(after(model))
    assert "no token reached 1 trained experts in 2 steps" in said and "'model.layers.1.mlp.experts[2]'" in said
    (said,) = check(after(model, weight_decay=0.0))  # where it stays bit for bit where it was
    assert "'model.layers.1.mlp.experts[2]'" in said


def test_what_the_loss_does_not_reach_is_an_error_unless_a_family_built_it_so() -> None:
    model = FullFineTuning().apply(deepseek_model())
    model.register_parameter("idle", nn.Parameter(torch.ones(3, 3)))
    movement = after(model)
    (said,) = check(movement)
    assert "1 trained parameters did not move" in said and "'idle'" in said
    with pytest.raises(NotMovedError, match="'idle'; the loss does not reach them, leave them out of the strategy"):
        check(movement, whole=False)


def test_a_gradient_that_vanishes_is_none() -> None:
    """Rounding noise of a gradient that is zero by the mathematics: a key's bias, a router with one expert a token."""
    model = FullFineTuning().apply(deepseek_model())
    norm = model.get_parameter(NORM)
    norm.register_hook(lambda gradient: gradient * 1e-12)
    (said,) = check(after(model, weight_decay=0.0))
    assert f"no gradient, which this model does not compute for them: '{NORM}'" in said


def test_a_single_step_shows_nothing() -> None:
    model = LoRA().apply(deepseek_model())
    assert check(after(model, steps=1, weight_decay=0.0), steps=1) == []  # A has no gradient yet


def test_an_update_that_compensated_summation_still_holds_counts() -> None:
    model = FullFineTuning().apply(deepseek_model(dtype=torch.bfloat16), masters=False)
    movement = Movement(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9, weight_decay=0.0)
    model(IDS, labels=IDS).loss.backward()
    optimizer.step()
    for parameter, state in optimizer.state.items():
        state["kahan_comp"] = torch.full_like(parameter, 1e-9)
    movement.look([optimizer])
    assert check(movement) == []


def test_norms_that_move_alike_have_moved() -> None:
    model = FullFineTuning().apply(deepseek_model())
    movement = Movement(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5) if parameter.dim() == 1 else torch.randn_like(parameter)
    optimizer.step()
    movement.look([optimizer])
    assert check(movement) == []


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def test_a_run_that_moves_nothing_ends_in_an_error_behind_its_adapter(base: str, rows: str, tmp_path: Path) -> None:
    with pytest.raises(NotMovedError, match=r"did not move in 3 steps, .*the learning rate is 0"):
        train(
            tmp_path, base, rows, FullFineTuning(learning_rate=0.0), steps=3,
            callbacks=[AdapterCheckpoint(save_best=False)],
        )  # fmt: skip
    assert list(tmp_path.rglob("adapter/adapter_model.safetensors"))


class NormsAndAStray(FineTuningStrategy):
    """Trains the norms, and a parameter of its own that nothing reads."""

    def make_trainable(self, model: Any, selection: ExpertSelection | None = None) -> None:
        model.register_parameter("stray", nn.Parameter(torch.ones(2, 2)))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("norm" in name or name == "stray")


def test_a_strategy_of_ones_own_learns_what_it_opened_in_vain(base: str, rows: str, tmp_path: Path) -> None:
    with pytest.raises(NotMovedError, match=r"1 trained parameters .*no gradient: 'stray'"):
        train(tmp_path, base, rows, NormsAndAStray(), steps=3)


class _PutBack(BestWeights):
    """Takes the weights before training for the best."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._kept = {name: p.detach().clone() for name, p in trained_parameters(pl_module).items()}


def test_weights_that_a_callback_puts_back_have_moved(base: str, rows: str, tmp_path: Path) -> None:
    module, _, _ = train(tmp_path, base, rows, FullFineTuning(), steps=3, callbacks=[put_back := _PutBack()])
    assert put_back.step == 0 and len(trained_parameters(module.model)) > 20
