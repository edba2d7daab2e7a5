"""A prompt is asked in exactly the tokens that its training row begins with, and an answer ends as it was trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from chat_rows import chat, write_jsonl
from chat_templates import ENDLESS, KINDS, REWRITING, TEMPLATES, THINKING, byte_level, templated
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.data.chat import segments, turn_end
from esft_lightning.data.rows import ChatRow, DataError
from esft_lightning.data.tokenization import encode_prompts, tokenize_rows
from esft_lightning.tasks import LawDataModule

FORMATS = ["esft", *TEMPLATES]
# Words, white space at the ends, line ends inside, and what looks like a control token.
text = st.lists(
    st.sampled_from(["a", "Ünal", "判决", " ", "\n", "\n\n", "3.5%", "</s>", "<s>", "<|im_end|>", "[INST]"])
)
text = text.map("".join).filter(lambda drawn: drawn.strip(" \n"))


def row_of(*turns: str) -> ChatRow:
    return ChatRow(chat(*turns)["messages"], "row:1")


def prompt_of(*turns: str) -> ChatRow:
    return ChatRow([*chat(*turns, "")["messages"][:-1]], "prompt:1")


def parts(row: ChatRow, tokenizer: Any, chat_format: Any) -> tuple[list[int], list[bool]]:
    samples = tokenize_rows([row], tokenizer, chat_format)
    return samples.ids.tolist(), samples.loss.tolist()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no_bos"])
def test_a_training_row_is_its_prompt_and_its_answer(name: str, kind: str, bos: bool) -> None:
    tokenizer = KINDS[kind](bos=bos) if name == "esft" else templated(name, kind, bos)
    chat_format = "esft" if name == "esft" else "template"

    @settings(max_examples=12, deadline=None)
    @given(text, text, text, text)
    def check(asked: str, answered: str, again: str, at_last: str) -> None:
        ids, loss = parts(row_of(asked, answered), tokenizer, chat_format)
        (prompt,) = encode_prompts([prompt_of(asked)], tokenizer, chat_format)
        assert ids[: len(prompt)] == prompt
        assert loss == [False] * len(prompt) + [True] * (len(ids) - len(prompt)) and loss[-1]
        ids, loss = parts(row_of(asked, answered, again, at_last), tokenizer, chat_format)
        (prompt,) = encode_prompts([prompt_of(asked, answered, again)], tokenizer, chat_format)
        assert ids[: len(prompt)] == prompt and len(prompt) < len(ids)
        (opened,) = encode_prompts([prompt_of(asked)], tokenizer, chat_format)
        assert ids[: len(opened)] == opened and loss[len(opened)], "the earlier answer is learned, too"

    check()


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_prompts_of_a_template_are_those_of_transformers(name: str, kind: str) -> None:
    tokenizer = templated(name, kind)
    for question in ("What is 3 + 4?", "Two\n\nparagraphs", "判决"):
        messages = [{"role": "user", "content": question}]
        own = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert encode_prompts([ChatRow(messages, "")], tokenizer, "template") == [own]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
def test_answers_end_as_the_template_ends_them(name: str, special: bool) -> None:
    tokenizer, template = templated(name, special=special), TEMPLATES[name]
    end = turn_end(tokenizer, "template")
    assert end.trained
    assert end.ids == tuple(tokenizer.convert_tokens_to_ids(list(template.ends)))
    assert end.texts == template.stops
    ids, loss = parts(row_of("q", "the answer"), tokenizer, "template")
    labelled = [token for token, has_loss in zip(ids, loss, strict=True) if has_loss]
    assert end.ids[0] in labelled, "training teaches the token at which generation stops"


def test_a_template_that_trains_no_end_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = ENDLESS
    assert turn_end(tokenizer, "template") == ((), ("### Instruction:",), False)
    tokenizer.save_pretrained(tmp_path / "base")
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat(f"q {n}", f"a {n}") for n in range(60)])
    for chat_format, said in (("template", 1), ("esft", 0)):
        caplog.clear()
        data = LawDataModule(
            "files", train_files=str(rows), tokenizer=str(tmp_path / "base"), chat_format=chat_format, cache_dir=None
        )
        with caplog.at_level(logging.WARNING, "esft_lightning"):
            data.setup("fit")
        assert caplog.text.count("writes nothing behind an answer, so that training teaches no end") == said


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_row_of_several_turns_is_the_conversation_as_it_is_rendered_whole(name: str) -> None:
    tokenizer = templated(name)
    row = row_of("When?", "At nine.", "And where?", "s")
    ids, loss = parts(row, tokenizer, "template")
    whole = tokenizer.apply_chat_template(row.messages, return_dict=False)
    assert ids == whole
    labelled = tokenizer.decode([token for token, has_loss in zip(ids, loss, strict=True) if has_loss])
    assert "At nine." in labelled and "where" not in labelled and "When" not in labelled


def test_answers_that_are_rewritten_once_turns_follow_are_refused() -> None:
    tokenizer = byte_level(("<|im_start|>", "<|im_end|>"))
    tokenizer.chat_template = REWRITING
    assert parts(row_of("When?", "At nine."), tokenizer, "template")[1][-1]
    with pytest.raises(
        DataError, match=r"row:1: messages\[1\]: this chat template renders an answer in another way once"
    ):
        segments(row_of("When?", "At nine.", "And where?", "Here."), tokenizer, "template")


def test_the_format_of_the_paper_ends_at_eos_and_where_a_turn_opens() -> None:
    tokenizer = byte_level()
    assert turn_end(tokenizer, "esft") == ((tokenizer.eos_token_id,), ("\n\nUser:", "\n\nAssistant:"), True)


def test_an_end_written_as_text_is_a_stop_text() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] + ' [/' + m['role'] + ']\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
    )
    assert turn_end(tokenizer, "template") == ((), ("[/assistant]", "[user]"), True)


def test_a_template_that_opens_thinking_is_refused_by_what_is_true_of_it() -> None:
    tokenizer = byte_level(("<|im_start|>", "<|im_end|>"))
    tokenizer.chat_template = THINKING
    with pytest.raises(DataError, match=r"row:1: messages\[1\]: .* opens the answer with '<think>\\n' when it asks"):
        segments(row_of("q", "a"), tokenizer, "template")
    tokenizer.chat_template = THINKING.replace("<think>\n", "Sure! ")
    with pytest.raises(DataError, match=r"asks with 'Sure! ' at the end, with which the answer .* does not begin"):
        segments(row_of("q", "a"), tokenizer, "template")


@pytest.mark.parametrize("name", FORMATS)
def test_the_data_module_asks_as_it_trains(name: str, tmp_path: Path) -> None:
    tokenizer = byte_level() if name == "esft" else templated(name)
    tokenizer.save_pretrained(tmp_path / "base")
    questions = [f"Question {n}: what does </s> mean?" for n in range(5)]
    train = write_jsonl(tmp_path / "train.jsonl", [chat(question, "an answer") for question in questions])
    test = write_jsonl(tmp_path / "test.jsonl", [{"prompt": q, "raw_answers": ["an answer"]} for q in questions])
    data = LawDataModule(
        "files",
        train_files=str(train),
        test_files=str(test),
        tokenizer=str(tmp_path / "base"),
        chat_format="esft" if name == "esft" else "template",
        sequence_length=256,
        on_overflow="next_row",
        random_concat_ratio=0.0,
        val_fraction=0.0,
        decontaminate=0,
        test_batch_size=2,
        cache_dir=None,
    )
    packed = next(iter(data.train_dataloader()))
    starts = {tuple(row[:30].tolist()) for row in packed["input_ids"]}
    batches = list(data.test_dataloader())
    asked = [ids.tolist() for batch in batches for ids in batch["prompt_ids"]]
    assert [len(batch["samples"]) for batch in batches] == [2, 2, 1] and len(asked) == 5
    assert any(tuple(ids[:30]) in starts for ids in asked)
    for question, ids in zip(questions, asked, strict=True):
        row, _ = parts(row_of(question, "an answer"), data.tokenizer, data.chat_format)
        assert row[: len(ids)] == ids
        (harmless,) = encode_prompts([prompt_of("q")], data.tokenizer, data.chat_format)
        assert ids.count(data.tokenizer.eos_token_id) == harmless.count(data.tokenizer.eos_token_id)
