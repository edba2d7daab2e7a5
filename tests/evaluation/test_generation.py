"""Generation: batching, order and left padding change nothing; an answer ends at the end token."""

import pytest
import torch
from transformers import AutoTokenizer, DeepseekV2Config, DeepseekV2ForCausalLM

from esft_lightning.embedded import TINY
from esft_lightning.evaluation import generate
from esft_lightning.evaluation.generation import left_padded, prompt_ids

PROMPTS = [
    "User: Where does Marlo live?\n\nAssistant:",
    "a",
    "User: There are 54 cards in the house of Gina. Gina finds 2 cards. How many cards are there?\n\nAssistant:",
    "def work(x):",
    "Write the word lamp.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    config = DeepseekV2Config(
        vocab_size=2048,
        hidden_size=32,
        intermediate_size=64,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        qk_nope_head_dim=8,
        qk_rope_head_dim=8,
        v_head_dim=16,
        kv_lora_rank=16,
        q_lora_rank=None,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_shared_experts=1,
        first_k_dense_replace=1,
        max_position_embeddings=128,
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return DeepseekV2ForCausalLM(config).float().eval()


def greedy_by_hand(model, tokenizer, prompt: str, count: int) -> str:
    """The slow way: one prompt, no cache, no padding, the whole text run again for every new token."""
    ids = prompt_ids(tokenizer, prompt)
    new: list[int] = []
    with torch.no_grad():
        while len(new) < count:
            token = int(model(input_ids=torch.tensor([ids + new]), use_cache=False).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            new.append(token)
    return tokenizer.decode(new, skip_special_tokens=True)


def test_batched_generation_equals_one_by_one_without_padding_or_cache(model, tokenizer):
    expected = [greedy_by_hand(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert len(set(expected)) > 1
    for batch_size in (1, 2, 5):
        assert generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=batch_size) == expected


def test_the_end_token_ends_an_answer(model, tokenizer):
    # make the end token likeliest everywhere: no answer may hold anything
    bias = torch.nn.Linear(32, 2048)
    torch.nn.init.zeros_(bias.weight)
    torch.nn.init.zeros_(bias.bias)
    with torch.no_grad():
        bias.bias[tokenizer.eos_token_id] = 5.0
    head = model.lm_head
    model.lm_head = bias
    try:
        assert generate(model, tokenizer, PROMPTS, max_new_tokens=4) == [""] * len(PROMPTS)
    finally:
        model.lm_head = head


def test_the_mode_of_the_model_is_kept(model, tokenizer):
    model.train()
    generate(model, tokenizer, PROMPTS[:1], max_new_tokens=1)
    assert model.training
    model.eval()
    generate(model, tokenizer, PROMPTS[:1], max_new_tokens=1)
    assert not model.training


def test_a_prompt_too_long_for_the_positions_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match=r"prompt 1 has \d+ tokens.*128 positions"):
        generate(model, tokenizer, ["short", "apple pear " * 200], max_new_tokens=4)


def test_no_prompts_give_no_answers(model, tokenizer):
    assert generate(model, tokenizer, []) == []


def test_left_padding_fills_the_left():
    ids, mask = left_padded([[5], [6, 7, 8]], pad=2)
    assert ids.tolist() == [[2, 2, 5], [6, 7, 8]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]


def test_a_prompt_gets_exactly_one_begin_token(tokenizer):
    ids = prompt_ids(tokenizer, "hello")
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert prompt_ids(tokenizer, "<s>hello") == ids


def test_an_answer_ends_before_the_first_stop_string_and_tokens_are_counted(model, tokenizer):
    whole = generate(model, tokenizer, PROMPTS, max_new_tokens=12)
    stop = [whole[0][3:6], whole[2][5:7]]
    counts: list[int] = []
    cut = generate(model, tokenizer, PROMPTS, max_new_tokens=12, stop=stop, on_tokens=counts.append, batch_size=2)
    expected = [min((text.partition(string)[0] for string in stop), key=len) for text in whole]
    assert cut == expected
    assert cut[0] != whole[0]
    assert len(counts) == 3
    assert sum(counts) <= 12 * len(PROMPTS)
