"""The loss on labelled positions, against Transformers' own and against full logits."""

import pytest
import torch
import torch.nn.functional as F
from tiny_models import deepseek_model
from transformers import GraniteMoeConfig, GraniteMoeForCausalLM

from esft_lightning.moe import loss as loss_module
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.targets import shifted_targets


def some_batch(vocabulary: int = 96) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocabulary, (3, 17), generator=generator)
    labels = torch.where(torch.rand(3, 17, generator=generator) < 0.4, ids, -100)
    return {"input_ids": ids, "labels": labels}


def brute_force(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum")


def test_equals_the_models_own_loss() -> None:
    model, batch = deepseek_model(), some_batch()
    ours = LabelledTokenLoss(model)
    assert ours.has_plain_head
    result = ours(batch)
    expected = model(**batch, use_cache=False).loss
    assert result.tokens == (batch["labels"][:, 1:] != -100).sum()
    torch.testing.assert_close(result.total / result.tokens, expected, atol=1e-6, rtol=1e-6)


def test_chunks_change_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for size in (2**25, 96 * 3):  # one chunk; chunks of three positions, recomputed in backward
        monkeypatch.setattr(loss_module, "LOGITS_PER_CHUNK", size)
        model = deepseek_model()
        result = LabelledTokenLoss(model)(some_batch())
        result.total.backward()
        outcomes.append(
            (result, model.get_output_embeddings().weight.grad, model.model.layers[0].mlp.up_proj.weight.grad)
        )
    (whole, *grads), (chunked, *chunked_grads) = outcomes
    assert whole.correct == chunked.correct
    torch.testing.assert_close(whole.total, chunked.total, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(grads, chunked_grads, atol=1e-4, rtol=1e-5)


def test_a_head_that_scales_its_logits_is_noticed() -> None:
    config = GraniteMoeConfig(
        vocab_size=96, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, logits_scaling=1.0001,
    )  # fmt: skip
    model = GraniteMoeForCausalLM(config).eval()
    ours, batch = LabelledTokenLoss(model), some_batch()
    assert not ours.has_plain_head
    expected = brute_force(model(input_ids=batch["input_ids"], use_cache=False).logits, batch["labels"])
    torch.testing.assert_close(ours(batch).total, expected, atol=1e-4, rtol=1e-6)


def test_no_label_gives_a_zero_that_reaches_the_parameters() -> None:
    model, batch = deepseek_model(), some_batch()
    batch["labels"] = torch.full_like(batch["labels"], -100)
    result = LabelledTokenLoss(model)(batch)
    result.total.backward()
    assert result.tokens == 0 and result.total == 0
    assert model.model.layers[0].mlp.up_proj.weight.grad is not None


def test_where_positions_restart_the_first_token_is_no_target() -> None:
    labels = torch.tensor([[5, 6, 7, 8, 9]])
    positions = torch.tensor([[0, 1, 2, 0, 1]])
    assert shifted_targets(labels, positions).tolist() == [[6, 7, -100, 9]]


def test_padding_free_batches_have_the_loss_of_padded_ones() -> None:
    model, batch = deepseek_model(), some_batch()
    lengths = [17, 9, 13]
    ids = torch.cat([row[:n] for row, n in zip(batch["input_ids"], lengths, strict=True)])[None]
    labels = torch.cat([row[:n] for row, n in zip(batch["labels"], lengths, strict=True)])[None]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    padded = {key: value.clone() for key, value in batch.items()}
    for row, n in enumerate(lengths):
        padded["labels"][row, n:] = -100
    ours = LabelledTokenLoss(model)
    free, full = ours({"input_ids": ids, "labels": labels, "position_ids": positions}), ours(padded)
    assert free.tokens == full.tokens
    torch.testing.assert_close(free.total, full.total, atol=1e-4, rtol=1e-5)
