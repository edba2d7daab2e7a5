"""On a bf16 base every strategy trains as on an fp32 base, and its masters are what checkpoints and adapters hold."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity
from training_runs import make_data, make_module, make_trainer, train, trained_values, write_base, write_rows

from esft_lightning.adapters import AdapterDtype, load_adapter, save_adapter
from esft_lightning.adapters.formats import merge_adapter
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import load_model, model_fingerprint, widened_arithmetic
from esft_lightning.moe.weight_updates import WeightUpdatesError
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
    trained_parameters,
)
from esft_lightning.tasks import TranslationDataModule
from esft_lightning.training.module import CheckpointError, ExpertFineTuner

STEPS = 20
EXPERTS = {1: [3, 7, 9, 20, 33], 2: [1, 5, 60, 14], 3: [0, 2, 8, 40]}
STRATEGIES: dict[str, FineTuningStrategy] = {
    "full": FullFineTuning(),
    "full, frozen router": FullFineTuning(freeze_router=True),
    "frozen experts": FrozenExperts(),
    "lora": LoRA(),
    "esft gate": ESFTGate(),
    "esft token + shared + non-expert": ESFTToken(shared_experts=True, non_expert_modules=True),
    "shared only": ESFT(routed_experts=False, shared_experts=True),
    "random experts": RandomExperts(),
    "relevant expert lora": RelevantExpertLoRA(),
}
#: Rates that move the embedded model and do not shake it, which would amplify what bf16 activations differ by.
SCALES = {"default": 100.0, "FullFineTuning": 10.0, "LoRA": 10.0, "FrozenExperts": 30.0, "RelevantExpertLoRA": 30.0}


class Start(Callback):
    """What is trained, before training."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.values = {name: p.detach().double().clone() for name, p in trained_parameters(pl_module.model).items()}


@cache
def whole_samples() -> TranslationDataModule:
    """Whole samples, and enough of them a step that gradients are above what bf16 activations add to them."""
    return TranslationDataModule(
        tokenizer="tiny", sequence_length=256, batch_size=4, on_overflow="next_row", cache_dir=None,
        train_rows=320, val_rows=8,
    )  # fmt: skip


@cache
def over_fp32(name: str) -> dict[str, torch.Tensor]:
    """The movement over an fp32 base, which more than one test compares with."""
    with TemporaryDirectory() as folder:
        return movement(STRATEGIES[name], "float32", Path(folder))


def without_bf16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU without bf16 arithmetic, which is faster in a model this small."""
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: dtype == torch.float32)


def movement(strategy: FineTuningStrategy, dtype: str, folder: Path, **module: Any) -> dict[str, torch.Tensor]:
    """How far the embedded model's trained weights are from where they began, after 20 steps."""
    seed_everything(0, verbose=False)
    tuner = ExpertFineTuner(strategy, base="tiny", dtype=dtype, learning_rate_scale=SCALES, **module)  # type: ignore[arg-type]
    if isinstance(strategy, ESFT) and strategy.routed_experts:  # the same experts, whatever a profile would say
        tuner.selection = ExpertSelection(EXPERTS, strategy.shared_experts, strategy.non_expert_modules)
    start = Start()
    make_trainer(folder, max_steps=STEPS, callbacks=[start]).fit(tuner, datamodule=whole_samples())
    return {name: p.detach().double() - start.values[name] for name, p in trained_parameters(tuner.model).items()}


def flat(moved: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([moved[name].flatten() for name in sorted(moved)])


def assert_agree(low: dict[str, torch.Tensor], full: dict[str, torch.Tensor]) -> None:
    assert low.keys() == full.keys()
    together, wanted = flat(low), flat(full)
    assert cosine_similarity(together, wanted, dim=0) >= 0.99
    assert float(together.norm() / wanted.norm()) == pytest.approx(1, abs=0.02)
    for name, moved in low.items():
        assert cosine_similarity(moved.flatten(), full[name].flatten(), dim=0) >= 0.95, name


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_movement_over_bf16_is_that_over_fp32(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name not in ("full", "esft gate"):
        without_bf16_products(monkeypatch)
    assert_agree(movement(STRATEGIES[name], "bfloat16", tmp_path), over_fp32(name))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base folder whose weights are bf16."""
    folder = write_base(tmp_path_factory.mktemp("base"))
    load_model(folder, dtype="bfloat16", random_weights=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


BF16 = {"random_weights": False, "dtype": "auto"}


@pytest.mark.parametrize(
    "strategy", [FullFineTuning(), LoRA(rank=2), ESFTToken(shared_experts=True)], ids=lambda strategy: strategy.name
)
def test_optimizer_clipping_and_checkpoint_meet_fp32_and_resume_exactly(
    strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path
) -> None:
    keep = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    settings: dict[str, Any] = {"module": BF16, "gradient_clip_val": 0.1, "enable_checkpointing": True}
    whole, losses, trainer = train(tmp_path, base, rows, strategy, steps=5, callbacks=[keep], **settings)
    optimized = [p for group in trainer.optimizers[0].param_groups for p in group["params"]]
    assert {p.dtype for p in optimized} == {torch.float32}
    moments = [v for s in trainer.optimizers[0].state.values() for v in s.values() if v.dim()]
    assert {moment.dtype for moment in moments} == {torch.float32}
    stored = torch.load(tmp_path / "ckpt" / "step=2.ckpt", weights_only=True)["state_dict"]
    assert {value.dtype for value in stored.values()} == {torch.float32}
    assert any(not torch.equal(value, value.bfloat16().float()) for value in stored.values()), "masters, not copies"
    resumed, later, _ = train(
        tmp_path, base, rows, strategy, steps=5, ckpt_path=str(tmp_path / "ckpt" / "step=2.ckpt"), **settings
    )
    assert later == {step: losses[step] for step in (3, 4, 5)}
    assert all(torch.equal(value, trained_values(whole)[name]) for name, value in trained_values(resumed).items())


@pytest.mark.parametrize("dtype", ["base", "float32"])
@pytest.mark.parametrize(
    "strategy",
    [FullFineTuning(), ESFTToken(shared_experts=True), LoRA(rank=2), RelevantExpertLoRA(rank=2)],
    ids=lambda strategy: strategy.name,
)
def test_adapters_in_the_bases_dtype_or_float32_answer_as_the_model_that_was_trained(
    strategy: FineTuningStrategy, dtype: AdapterDtype, base: str, rows: str, tmp_path: Path
) -> None:
    module, _, _ = train(tmp_path, base, rows, strategy, steps=3, module=BF16)
    save_adapter(
        module.model, tmp_path / "adapter", strategy=strategy.name, base=base, selection=module.selection,
        base_fingerprint=module.base_fingerprint, dtype=dtype,
    )  # fmt: skip
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    low_rank = isinstance(strategy, LoRA | RelevantExpertLoRA)
    wide = low_rank or dtype == "float32"
    assert {value.dtype for value in stored.values()} == {torch.float32 if wide else torch.bfloat16}
    fresh = load_model(base)
    assert model_fingerprint(fresh) == module.base_fingerprint
    ids = torch.randint(3, 250, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = module.model.eval()(ids, use_cache=False).logits
        assert torch.equal(load_adapter(fresh, tmp_path / "adapter")(ids, use_cache=False).logits, wanted)
        merged = load_model(merge_adapter(base, tmp_path / "adapter", tmp_path / "merged"))
        assert {parameter.dtype for parameter in merged.parameters()} == {torch.bfloat16}
        difference = (merged(ids, use_cache=False).logits.float() - wanted.float()).norm() / wanted.float().norm()
        # Low-rank updates are rounded once into a merged weight, and never where they are apart.
        assert difference <= (0.02 if low_rank else 0)
        if dtype == "float32" and isinstance(strategy, FullFineTuning):
            exact = load_model(merge_adapter(base, tmp_path / "adapter", tmp_path / "fp32", dtype=torch.float32))
            for name, parameter in trained_parameters(module.model).items():
                assert torch.equal(exact.get_parameter(name), parameter), name


def test_generation_after_training_is_that_of_the_adapter(base: str, rows: str, tmp_path: Path) -> None:
    module, _, _ = train(tmp_path, base, rows, FullFineTuning(), steps=3, module={**BF16, "max_new_tokens": 6})
    save_adapter(
        module.model, tmp_path / "adapter", strategy="FullFineTuning", base=base,
        base_fingerprint=module.base_fingerprint,
    )  # fmt: skip
    prompts = ["User: say 3\n\nAssistant:", "User: 5\n\nAssistant:"]
    answers = module.generate(prompts)
    assert module.model.training and {p.dtype for p in trained_parameters(module.model).values()} == {torch.float32}
    other = make_module(base, FullFineTuning(), adapter=str(tmp_path / "adapter"), max_new_tokens=6, **BF16)
    make_trainer(tmp_path).validate(other, datamodule=make_data(base, rows), verbose=False)
    assert other.generate(prompts) == answers


kahan = pytest.mark.skipif(importlib.util.find_spec("optimi") is None, reason="torch-optimi is not installed")


@kahan
def test_kahan_summation_moves_weights_that_bf16_would_leave_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_bf16_products(monkeypatch)
    low = movement(FullFineTuning(), "bfloat16", tmp_path, weight_updates="kahan_summation")
    full = over_fp32("full")
    assert cosine_similarity(flat(low), flat(full), dim=0) >= 0.98
    assert float(flat(low).norm() / flat(full).norm()) == pytest.approx(1, abs=0.05)


@kahan
def test_kahan_summation_keeps_ten_bytes_and_resumes_exactly(base: str, rows: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"module": {**BF16, "weight_updates": "kahan_summation"}, "enable_checkpointing": True}
    keep = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    strategy = ESFTToken(shared_experts=True)
    whole, losses, trainer = train(tmp_path, base, rows, strategy, steps=5, callbacks=[keep], **settings)
    trained = trained_parameters(whole.model)
    assert {parameter.dtype for parameter in trained.values()} == {torch.bfloat16}
    state = [v for s in trainer.optimizers[0].state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    assert sum(value.nbytes for value in state) == 6 * sum(parameter.numel() for parameter in trained.values())
    path = str(tmp_path / "ckpt" / "step=2.ckpt")
    resumed, later, _ = train(tmp_path, base, rows, strategy, steps=5, ckpt_path=path, **settings)
    assert later == {step: losses[step] for step in (3, 4, 5)}
    assert all(torch.equal(value, trained_values(whole)[name]) for name, value in trained_values(resumed).items())
    with pytest.raises(CheckpointError, match="weight_updates is 'kahan_summation'"):
        train(tmp_path, base, rows, strategy, steps=5, ckpt_path=path, module=BF16)


def test_kahan_summation_is_refused_where_it_cannot_be_or_does_nothing(
    base: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(strategy: FineTuningStrategy, **module: Any) -> None:
        module = {**BF16, "weight_updates": "kahan_summation", **module}
        train(tmp_path, base, rows, strategy, steps=1, module=module)

    monkeypatch.setattr("esft_lightning.moe.weight_updates.find_spec", lambda name: None)
    with pytest.raises(WeightUpdatesError, match="needs torch-optimi: pip install"):
        fit(FullFineTuning())
    monkeypatch.setattr("esft_lightning.moe.weight_updates.find_spec", lambda name: object())
    with pytest.raises(WeightUpdatesError, match="no effect"):
        fit(FullFineTuning(), dtype="float32")
    with pytest.raises(WeightUpdatesError, match="no effect"):
        fit(LoRA(rank=2))
