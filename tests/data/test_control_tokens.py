"""What a person wrote is text: no message, prompt, reference or general row makes a control token."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_rows import chat, write_jsonl
from chat_templates import KINDS, TEMPLATES, byte_level, sentencepiece_like, templated
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from esft_lightning.data.control_tokens import ControlTokens, special_tokens
from esft_lightning.data.general import general_loader
from esft_lightning.data.rows import ChatRow, DataError
from esft_lightning.data.tokenization import encode_prompts, tokenize_rows
from esft_lightning.tasks import LawDataModule


def ids_of(tokenizer, chat_format: str, asked: str, answered: str) -> list[int]:
    row = ChatRow(chat(asked, answered)["messages"], "rows.jsonl:7")
    return tokenize_rows([row], tokenizer, chat_format).ids.tolist()


def controls(tokenizer, chat_format: str, ids: list[int]) -> list[int]:
    names = ControlTokens(tokenizer, chat_format).names
    return [token for token in ids if token in names]


@pytest.mark.parametrize("name", ["esft", *TEMPLATES])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
def test_control_tokens_in_a_text_are_text(name: str, kind: str, special: bool) -> None:
    tokenizer = KINDS[kind](special=special) if name == "esft" else templated(name, kind, special=special)
    chat_format = "esft" if name == "esft" else "template"
    names = list(ControlTokens(tokenizer, chat_format).names.values())
    assert {"<s>", "</s>", "<pad>"} <= set(names)
    plain = controls(tokenizer, chat_format, ids_of(tokenizer, chat_format, "what is it", "it is this"))
    for text in (*names, f"a{names[-1]}b", " ".join(names), names[0] * 3, f"{names[1]}\n{names[1]}"):
        ids = ids_of(tokenizer, chat_format, f"what {text} is", f"it {text} is")
        assert controls(tokenizer, chat_format, ids) == plain
        shown = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert shown.count(text) >= 2, "the text is there, letter by letter"
        prompts = encode_prompts([ChatRow(chat(text, "")["messages"][:1], "x")], tokenizer, chat_format)
        harmless = encode_prompts([ChatRow(chat("q", "")["messages"][:1], "x")], tokenizer, chat_format)
        assert controls(tokenizer, chat_format, prompts[0]) == controls(tokenizer, chat_format, harmless[0])


def test_thinking_of_an_answer_stays_the_tokenizers_token() -> None:
    tokenizer = byte_level((*TEMPLATES["chatml"].tokens, "<think>", "</think>"), special=False)
    tokenizer.chat_template = TEMPLATES["chatml"].text
    ids = ids_of(tokenizer, "template", "why", "<think>so</think>that is why <|im_end|>")
    assert [ids.count(tokenizer.convert_tokens_to_ids(token)) for token in ("<think>", "</think>")] == [1, 1]
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 3, "the system's, the user's, the answer's end"


@pytest.mark.parametrize("name", ["esft", "chatml", "llama3"])
def test_a_tokenizer_that_splits_special_tokens_by_itself_makes_no_difference(name: str) -> None:
    tokenizer = byte_level() if name == "esft" else templated(name)
    chat_format = "esft" if name == "esft" else "template"
    expected = ids_of(tokenizer, chat_format, "what is </s>", "it <|eot_id|> is")
    tokenizer.split_special_tokens = True
    assert ids_of(tokenizer, chat_format, "what is </s>", "it <|eot_id|> is") == expected
    assert tokenizer.split_special_tokens


def test_a_tokenizer_written_in_python_keeps_texts_apart_too() -> None:
    tokenizer = ByT5Tokenizer()
    ids = ids_of(tokenizer, "esft", "what is </s> or <extra_id_3>", "it </s> is")
    assert ids.count(tokenizer.eos_token_id) == 1 and ids[-1] == tokenizer.eos_token_id
    tokenizer.chat_template = TEMPLATES["zephyr"].text
    assert ids_of(tokenizer, "template", "what is </s>", "it </s> is").count(tokenizer.eos_token_id) == 2


def words_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, to which the text `</s>` is the token `</s>`, whatever it is asked."""
    words = ["<unk>", "<s>", "</s>", "what", "is", "it", "User", "Assistant", ":"]
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_a_row_that_cannot_be_kept_apart_is_refused_by_the_tokens_name() -> None:
    tokenizer = words_tokenizer()
    assert ids_of(tokenizer, "esft", "what is", "of it no word is known")
    with pytest.raises(DataError, match=r"rows\.jsonl:7: the text holds '</s>', which this tokenizer reads"):
        ids_of(tokenizer, "esft", "what is </s> it", "it")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' </s> ' }}{% endfor %}"
    assert ids_of(tokenizer, "template", "what is", "it").count(2) == 2
    with pytest.raises(DataError, match=r"rows\.jsonl:7: the text holds '</s>'"):
        ids_of(tokenizer, "template", "what is </s> it", "it")


def test_a_form_that_a_normalizer_makes_a_control_token_is_refused_in_a_template() -> None:
    tokenizer = templated("chatml")
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_tokens([AddedToken("<|stop|>", normalized=True, special=True)])
    wide = "＜|stop|＞"
    assert ids_of(tokenizer, "template", "what is <|stop|>", "it")
    with pytest.raises(DataError, match=r"rows\.jsonl:7: the text holds '<\|stop\|>'"):
        ids_of(tokenizer, "template", f"what is {wide}", "it")


def test_unknown_words_are_no_control_tokens() -> None:
    assert 0 not in ControlTokens(words_tokenizer(), "esft").names
    shared = words_tokenizer()
    shared.unk_token = "</s>"
    assert ControlTokens(shared, "esft").names[2] == "</s>", "an end token is one, even if unknown words become it"


def test_white_space_is_no_control_token() -> None:
    tokenizer = byte_level(("\n\n", "<end>"))
    assert "<end>" in special_tokens(tokenizer).values() and "\n\n" not in special_tokens(tokenizer).values()


def test_general_rows_and_text_for_grouping_are_text_too(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.save_pretrained(tmp_path / "base")
    train = write_jsonl(tmp_path / "train.jsonl", [chat(f"q {n}", f"a {n}") for n in range(4)])
    general = write_jsonl(
        tmp_path / "general.jsonl", [chat(f"the tag </s> {n}", f"<s> and </s> {n}") for n in range(4)]
    )
    data = LawDataModule(
        "files", train_files=str(train), general_source="files", general_files=str(general),
        tokenizer=str(tmp_path / "base"), val_fraction=0, on_overflow="next_row", random_concat_ratio=0.0,
        cache_dir=None,
    )  # fmt: skip
    ids = [token for batch in data.train_dataloader() for token in batch["input_ids"][batch["token_mask"]].tolist()]
    assert ids.count(tokenizer.eos_token_id) == ids.count(tokenizer.bos_token_id) == 8
    loader = general_loader(tokenizer, str(general), sequence_length=256)
    ids = [token for batch in loader for token in batch["input_ids"][batch["token_mask"]].tolist()]
    assert ids.count(tokenizer.eos_token_id) == 4 and tokenizer.decode(ids).count("</s>") == 12


def test_a_reference_that_holds_one_is_matched_by_an_answer_that_writes_it() -> None:
    """What training writes for `</s>` in an answer is decoded to the reference's own text."""
    for tokenizer in (byte_level(), sentencepiece_like()):
        row = ChatRow(chat("what ends a text?", "it is </s> that ends it")["messages"], "x")
        samples = tokenize_rows([row], tokenizer)
        answer = tokenizer.decode(samples.ids[samples.loss][:-1], skip_special_tokens=True)
        assert answer.strip() == "it is </s> that ends it" and samples.ids[-1] == tokenizer.eos_token_id
