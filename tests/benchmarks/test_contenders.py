"""Every contender computes what the simple reference computes: the same loss, the same gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from benchmarks.contenders import Contender, PerExpertLoop
from benchmarks.floor import Floor
from benchmarks.line_up import alternatives, full, ours
from benchmarks.measure import look_at
from benchmarks.shapes import DEEPSEEK, OLMOE, build_model, make_batch, most_used, small
from benchmarks.targets import FROZEN, LOOP, MASK, STRICT_FLOOR
from esft_lightning.moe import banks, find_moe_layers

SELECTED = 3


def one_step(contender: Contender, shape) -> tuple[float, dict[str, Any]]:
    """The loss, and what `look` of the contender sees before gradients are dropped."""
    model, batch = build_model(shape), make_batch(shape)
    with torch.no_grad():  # routers drawn wide, so that experts differ in what they read
        for entry in find_moe_layers(model):
            model.get_submodule(f"{entry.block_name}.gate").weight.normal_(
                generator=torch.Generator().manual_seed(entry.layer)
            )
    selection = most_used(model, batch, SELECTED)
    contender.prepare(model, selection, batch)
    seen: dict[str, Any] = {"selection": selection}

    def keep() -> None:
        named = dict(contender.model.named_parameters())
        seen["gradients"] = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
        seen["trained"] = [p.grad.clone() for p in contender.trained if p.grad is not None]

    contender.on_update = keep
    return contender.step(batch), seen


@pytest.fixture(scope="module", params=[small(OLMOE), small(DEEPSEEK)], ids=lambda shape: shape.name)
def reference(request) -> dict[str, Any]:
    """Loss and gradients of the per-expert loop, and of full fine-tuning with Transformers' own eager experts."""
    shape = request.param
    loop = PerExpertLoop(LOOP)
    loss, seen = one_step(loop, shape)
    experts = {}
    for layer, module in loop.loops.items():
        ids = sorted(seen["selection"][layer])
        of = {name: gradient for name, gradient in seen["gradients"].items() if f"layers.{layer}." in name}

        def gradient(expert: int, projection: str, of=of) -> torch.Tensor:
            return next(g for name, g in of.items() if name.endswith(f"experts.experts.{expert}.{projection}"))

        assert len(module.experts) == shape.experts
        experts[layer] = {
            "gate_up_proj": torch.stack([torch.cat([gradient(e, "gate_proj"), gradient(e, "up_proj")]) for e in ids]),
            "down_proj": torch.stack([gradient(e, "down_proj") for e in ids]),
        }
    every = full()
    every_loss, every_seen = one_step(every, shape)
    return {
        "shape": shape, "loss": loss, "experts": experts, "selection": seen["selection"], "full_loss": every_loss,
        "full": every_seen["gradients"],
    }  # fmt: skip


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def everyone() -> dict[str, Contender]:
    return {contender.label: contender for contender in (*ours(), *alternatives())}


def named(label: str) -> Contender:
    return everyone()[label]


@pytest.mark.parametrize("label", everyone())
def test_every_contender_has_the_loss_of_the_reference(reference, label: str) -> None:
    loss, _ = one_step(named(label), reference["shape"])
    assert loss == pytest.approx(reference["loss"], abs=1e-5)


def test_the_reference_has_the_gradients_of_plain_autograd(reference) -> None:
    """Full fine-tuning is stock Transformers: its rows of the selected experts are what the loop must give."""
    for layer, projections in reference["experts"].items():
        for name, expected in projections.items():
            every = reference["full"][f"model.layers.{layer}.mlp.experts.{name}"]
            assert expected.abs().max() > 0
            close(every[sorted(reference["selection"][layer])], expected)


def test_esft_has_the_gradients_of_the_reference(reference) -> None:
    contender = named("ESFT")
    _, seen = one_step(contender, reference["shape"])
    found = {name: g for name, g in seen["gradients"].items() if ".trained_bank." in name}
    assert len(found) == len(seen["gradients"]) == 2 * len(reference["experts"])
    for layer, _ in banks(contender.model):
        for name, expected in reference["experts"][layer].items():
            close(found[f"model.layers.{layer}.mlp.experts.trained_bank.{name}"], expected)


def test_the_mask_leaves_the_gradients_of_the_reference_and_zeroes_the_others(reference) -> None:
    _, seen = one_step(named(MASK), reference["shape"])
    for layer, projections in reference["experts"].items():
        ids = sorted(reference["selection"][layer])
        for name, expected in projections.items():
            found = seen["gradients"][f"model.layers.{layer}.mlp.experts.{name}"]
            close(found[ids], expected)
            found[ids] = 0
            assert not found.any()


@pytest.mark.parametrize("label", ["floor", STRICT_FLOOR])
def test_the_floor_makes_the_weight_gradients_of_the_reference(reference, label: str) -> None:
    contender = named(label)
    assert isinstance(contender, Floor)
    _, seen = one_step(contender, reference["shape"])
    assert not seen["gradients"], "the model itself is frozen"
    expected = [gradient for _, layer in sorted(reference["experts"].items()) for gradient in layer.values()]
    for found, one in zip(seen["trained"], expected, strict=True):
        close(found, one)
    assert set(contender.parts) == {"frozen", "update"}


def test_the_frozen_model_trains_nothing_and_reaches_the_embeddings(reference) -> None:
    contender = named(FROZEN)
    reached = []

    def listen(module, args, output) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: reached.append(float(gradient.abs().max())))

    model, batch = build_model(reference["shape"]), make_batch(reference["shape"])
    contender.prepare(model, {}, batch)
    model.get_input_embeddings().register_forward_hook(listen)
    contender.step(batch)
    assert reached and reached[0] > 0 and not contender.trained


def through(weight: Callable[[], torch.Tensor], gradient: torch.Tensor, parameters: list) -> list[torch.Tensor]:
    """Gradients of parameters that a weight is made of, by the chain rule from that weight's own."""
    return list(torch.autograd.grad((weight() * gradient).sum(), parameters))


@pytest.mark.parametrize("label", ["LoRA", "LoRA on routed experts"])
def test_lora_has_the_gradients_that_the_chain_rule_gives(reference, label: str) -> None:
    contender = named(label)
    model, batch = build_model(reference["shape"]), make_batch(reference["shape"])
    _, seen = one_step(contender, reference["shape"])
    del model, batch
    adapted = 0
    for name, module in contender.model.named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        own = [(n, p) for n, p in module.named_parameters() if "lora_" in n and "base_layer" not in n]
        parameter = getattr(module, "parameter_name", "weight")
        base = f"{name}.{parameter}".replace(".base_layer", "")
        with torch.no_grad():  # back to the start of the step: B was zero, so A has no gradient
            for n, p in own:
                if "lora_B" in n:
                    p.zero_()
        of_b = [p for n, p in own if "lora_B" in n]
        expected = through(lambda module=module: module.get_delta_weight("default"), reference["full"][base], of_b)
        for (n, _), one in zip([entry for entry in own if "lora_B" in entry[0]], expected, strict=True):
            close(seen["gradients"][f"{name}.{n}"], one)
            adapted += 1
    assert adapted >= 2 * len(reference["experts"])


def test_low_rank_banks_have_the_gradients_that_the_chain_rule_gives(reference) -> None:
    contender = named("RelevantExpertLoRA")
    _, seen = one_step(contender, reference["shape"])
    for layer, bank in banks(contender.model):
        for name, gradient in reference["experts"][layer].items():
            factor = bank.get_parameter(f"{name}_lora_B")
            with torch.no_grad():
                factor.zero_()
            (expected,) = through(lambda bank=bank, name=name: bank.weight(name), gradient, [factor])
            close(seen["gradients"][f"model.layers.{layer}.mlp.experts.trained_bank.{name}_lora_B"], expected)


def test_frozen_experts_has_the_gradients_of_full_fine_tuning_elsewhere(reference) -> None:
    _, seen = one_step(named("FrozenExperts"), reference["shape"])
    others = {name for name in reference["full"] if ".mlp.experts." not in name}
    assert set(seen["gradients"]) == others
    for name in others:
        close(seen["gradients"][name], reference["full"][name])


def test_what_is_seen_of_memory() -> None:
    """Gradients and moments of exactly the selected experts; the mask pays for all of them."""
    shape = small(OLMOE)
    found = {}
    for label in ("ESFT", MASK, "full fine-tuning", FROZEN, "floor"):
        model, batch = build_model(shape), make_batch(shape)
        found[label] = look_at(named(label), model, batch, most_used(model, batch, SELECTED))
    expert = 3 * shape.hidden * shape.intermediate * 4
    assert found["ESFT"]["gradient_bytes"] == SELECTED * shape.layers * expert
    assert found["ESFT"]["optimizer_bytes"] == pytest.approx(2 * SELECTED * shape.layers * expert, rel=1e-3)
    assert found["ESFT"]["checkpoint_bytes"] == SELECTED * shape.layers * expert
    assert found[MASK]["gradient_bytes"] == shape.experts * shape.layers * expert
    assert found[FROZEN]["saved_bytes"] <= found["floor"]["saved_bytes"] <= found["full fine-tuning"]["saved_bytes"]
    assert found["ESFT"]["saved_bytes"] < found["full fine-tuning"]["saved_bytes"]
    assert found[FROZEN]["gradient_bytes"] == found[FROZEN]["optimizer_bytes"] == 0
