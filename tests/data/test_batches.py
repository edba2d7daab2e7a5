"""What a batch holds: labels, masks, positions; padding-free equal to padded; samples that do not see one another."""

import numpy as np
import pytest
import torch

from esft_lightning.data.batches import IGNORED, collate
from esft_lightning.data.packing import pack
from esft_lightning.data.rows import ChatRow
from esft_lightning.data.tokenization import tokenize_rows

PAD = 2


@pytest.fixture(scope="module")
def samples(tokenizer):
    rows = [
        ChatRow(
            [{"role": "user", "content": "what " * (n % 5 + 1)}, {"role": "assistant", "content": f"answer {n}"}],
            f"r:{n}",
        )
        for n in range(25)
    ]
    return tokenize_rows(rows, tokenizer)


@pytest.fixture(scope="module")
def rows(samples, tokenizer):
    return pack(samples, 64, bos_id=tokenizer.bos_token_id, on_overflow="next_row")


def test_a_padded_batch_says_what_is_real_and_what_is_learned(rows):
    index = np.array([len(rows) - 1, 0])
    batch = collate(rows, index, pad_id=PAD)
    assert set(batch) == {"input_ids", "labels", "token_mask", "sample_ids", "row_index"}
    assert batch["row_index"].tolist() == index.tolist()
    assert batch["token_mask"].sum(1).tolist() == rows.lengths[index].tolist()
    assert (batch["input_ids"][~batch["token_mask"]] == PAD).all()
    assert (batch["labels"][~batch["token_mask"]] == IGNORED).all()
    learned = batch["labels"] != IGNORED
    assert (batch["labels"][learned] == batch["input_ids"][learned]).all()
    assert int(learned.sum()) == int(rows.loss[index].sum()) > 0
    assert (batch["sample_ids"] == torch.tensor([[0], [1]])).all()
    assert {name: value.dtype for name, value in batch.items()} == {
        name: torch.bool if name == "token_mask" else torch.int64 for name in batch
    }


def test_positions_restart_exactly_at_each_sample(rows):
    index = np.arange(len(rows))
    batch = collate(rows, index, pad_id=PAD, cross_sample_attention=False)
    for row in index:
        expected, before = [], None
        for number in rows.sample[row, : rows.lengths[row]].tolist():
            expected.append(0 if number != before else expected[-1] + 1)
            before = number
        tail = range(expected[-1] + 1, expected[-1] + 1 + rows.sequence_length - len(expected))
        assert batch["position_ids"][row].tolist() == expected + list(tail)
        starts = np.flatnonzero(np.array(expected) == 0)
        assert (batch["labels"][row, starts] == IGNORED).all(), "nothing of its own sample stands before it"


@pytest.mark.parametrize("cross", [True, False])
def test_padding_free_holds_the_same_tokens_labels_and_rows(rows, cross):
    index = np.array([3, 0, len(rows) - 1])
    padded = collate(rows, index, pad_id=PAD, cross_sample_attention=cross)
    free = collate(rows, index, pad_id=PAD, cross_sample_attention=cross, padding_free=True)
    real = padded["token_mask"]
    assert free["input_ids"].shape == (1, int(rows.lengths[index].sum())) and free["token_mask"].all()
    for name in ("input_ids", "labels", "sample_ids"):
        assert free[name][0].tolist() == padded[name][real].tolist()
    positions = free["position_ids"][0]
    restarts = np.flatnonzero(positions.numpy() == 0)
    if cross:
        assert restarts.tolist() == np.cumsum([0, *rows.lengths[index][:-1]]).tolist()
    else:
        assert positions.tolist() == padded["position_ids"][real].tolist()


@pytest.mark.parametrize("options", [{}, {"padding_free": True}, {"cross_sample_attention": False}])
def test_a_rank_without_rows_gets_padding_of_the_same_kind(rows, options):
    full = collate(rows, np.array([0]), pad_id=PAD, **options)
    filler = collate(rows, np.array([], int), pad_id=PAD, **options)
    assert set(filler) == set(full)
    assert {name: value.dtype for name, value in filler.items()} == {name: value.dtype for name, value in full.items()}
    assert not filler["token_mask"].any() and (filler["labels"] == IGNORED).all() and len(filler["row_index"]) == 0


def test_a_model_sees_samples_apart_when_attention_may_not_cross(rows):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    model = LlamaForCausalLM(config).eval()

    def logits(batch):
        inputs = {name: batch[name] for name in ("input_ids", "position_ids") if name in batch}
        with torch.no_grad():
            return model(**inputs, use_cache=False).logits

    index = np.array([0, 2])
    apart = collate(rows, index, pad_id=PAD, cross_sample_attention=False)
    free = collate(rows, index, pad_id=PAD, cross_sample_attention=False, padding_free=True)
    crossing = collate(rows, index, pad_id=PAD)
    alone = []
    for row in index:
        for number in dict.fromkeys(rows.sample[row, : rows.lengths[row]].tolist()):
            ids = torch.from_numpy(rows.ids[row][rows.sample[row] == number]).long()[None]
            alone.append(logits({"input_ids": ids})[0])
    alone = torch.cat(alone)
    assert (logits(apart)[apart["token_mask"]] - alone).abs().max() < 1e-5
    assert (logits(free)[0] - alone).abs().max() < 1e-5
    assert (logits(crossing)[crossing["token_mask"]] - alone).abs().max() > 1e-2, "the default lets attention cross"
    rows_apart = collate(rows, index, pad_id=PAD, padding_free=True)
    crossing_rows = logits(crossing)[crossing["token_mask"]]
    assert (logits(rows_apart)[0] - crossing_rows).abs().max() < 1e-5, "padding-free rows do not see one another"
