"""The chat format and its loss mask, against a plain re-implementation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.data.chat import prompt_for, segments
from esft_lightning.data.rows import ChatRow, DataError
from esft_lightning.data.tokenization import tokenize_rows

# DeepSeek-V2's template, which the `esft` format writes by hand.
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\\n\\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ 'Assistant: ' + m['content'] + eos_token }}"
    "{% else %}{{ m['content'] + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
text = st.text(st.characters(codec="utf-8", exclude_characters="<"), min_size=1, max_size=12).filter(str.strip)


def conversation(*turns: str, system: str | None = None) -> ChatRow:
    messages = [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]
    return ChatRow(([{"role": "system", "content": system}] if system else []) + messages, "test:1")


def plain(row: ChatRow, tokenizer) -> tuple[list[int], list[bool]]:
    """PAPER's format, written the long way: BOS; then for each message its text, and EOS behind each answer."""
    ids, loss = [tokenizer.bos_token_id], [False]
    for message in row.messages:
        content = message["content"].strip()
        if message["role"] == "system":
            new, labelled = tokenizer.encode(content + "\n\n", add_special_tokens=False), False
        elif message["role"] == "user":
            new, labelled = tokenizer.encode("User: " + content + "\n\nAssistant:", add_special_tokens=False), False
        else:
            new = [*tokenizer.encode(" " + content, add_special_tokens=False), tokenizer.eos_token_id]
            labelled = True
        ids += new
        loss += [labelled] * len(new)
    return ids, loss


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=3), st.none() | text)
def test_ids_and_loss_mask_are_the_papers(tokenizer, turns, system):
    row = conversation(*(part for turn in turns for part in turn), system=system)
    samples = tokenize_rows([row, row], tokenizer)
    ids, loss = plain(row, tokenizer)
    assert samples.ids.tolist() == ids * 2 and samples.loss.tolist() == loss * 2
    assert samples.offsets.tolist() == [0, len(ids), 2 * len(ids)]


def test_one_turn_reads_as_in_the_paper(tokenizer):
    samples = tokenize_rows([conversation("  2+2?\n", "4\n\n")], tokenizer)
    assert tokenizer.decode(samples.ids) == "<s>User: 2+2?\n\nAssistant: 4</s>"
    assert tokenizer.decode(samples.ids[samples.loss]) == " 4</s>"


def test_every_assistant_turn_has_loss_unless_masked(tokenizer):
    row = conversation("a", "b", "c", "d", system="s")
    samples = tokenize_rows([row], tokenizer)
    assert tokenizer.decode(samples.ids) == "<s>s\n\nUser: a\n\nAssistant: b</s>User: c\n\nAssistant: d</s>"
    assert tokenizer.decode(samples.ids[samples.loss]) == " b</s> d</s>"
    row.messages[2]["mask"] = 1
    masked = tokenize_rows([row], tokenizer)
    assert masked.ids.tolist() == samples.ids.tolist()
    assert tokenizer.decode(masked.ids[masked.loss]) == " d</s>"
    assert masked.key != samples.key


def test_template_of_deepseek_gives_the_same_tokens_and_loss_as_esft(tokenizer, tokenizer_folder):
    from esft_lightning.moe.tokenizer import load_tokenizer

    templated = load_tokenizer(tokenizer_folder)
    templated.chat_template = TEMPLATE
    rows = [conversation("a b", "c"), conversation("a", "b", "c", "d", system="sys"), conversation("判决", "如下")]
    esft, template = tokenize_rows(rows, tokenizer), tokenize_rows(rows, templated, "template")
    assert template.ids.tolist() == esft.ids.tolist() and template.loss.tolist() == esft.loss.tolist()
    assert template.key != esft.key


def test_template_errors_name_the_row(tokenizer, tokenizer_folder):
    from esft_lightning.moe.tokenizer import load_tokenizer

    with pytest.raises(DataError, match="no chat template; use chat_format=esft"):
        segments(conversation("a", "b"), tokenizer, "template")
    templated = load_tokenizer(tokenizer_folder)
    templated.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
    with pytest.raises(DataError, match=r"test:1: the chat template refuses this conversation \(no system\)"):
        segments(conversation("a", "b", system="s"), templated, "template")
    templated.chat_template = "{{ messages | length }}"
    with pytest.raises(DataError, match=r"asks with .1. at the end"):
        segments(conversation("a", "b"), templated, "template")


def test_evaluation_prompts_take_both_forms_and_carry_no_bos(tokenizer_folder):
    from esft_lightning.moe.tokenizer import load_tokenizer

    templated = load_tokenizer(tokenizer_folder)
    templated.chat_template = TEMPLATE
    for question in ("2+2?", "User: 2+2?\n\nAssistant:"):
        assert prompt_for(question, None, "esft") == "User: 2+2?\n\nAssistant:"
        assert prompt_for(question, templated, "template") == "User: 2+2?\n\nAssistant:"
