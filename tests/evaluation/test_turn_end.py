"""Answers end where the model's turn ends, whoever asks: a model that says what it is told shows where they are cut."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_templates import TEMPLATES, byte_level, templated
from tiny_models import deepseek_config
from training_runs import make_module, make_trainer
from transformers import DeepseekV2ForCausalLM, GenerationConfig
from transformers.modeling_outputs import CausalLMOutputWithPast

from esft_lightning.data.chat import turn_end
from esft_lightning.data.chat_template import TurnEnd
from esft_lightning.errors import UserError
from esft_lightning.evaluation import generate
from esft_lightning.evaluation.generation import end_tokens, prompt_ids
from esft_lightning.strategies import ESFTGate
from esft_lightning.tasks import LawDataModule


class Scripted(DeepseekV2ForCausalLM):
    """Says its script, token by token, whatever it is asked; then it repeats the last token."""

    script: tuple[int, ...] | list[int] = ()
    said = 0

    def forward(self, input_ids: torch.Tensor, **_: Any) -> CausalLMOutputWithPast:
        logits = torch.zeros(*input_ids.shape, self.config.vocab_size)
        logits[:, -1, self.script[min(self.said, len(self.script) - 1)]] = 1.0
        self.said += 1
        return CausalLMOutputWithPast(logits=logits)  # type: ignore[arg-type]

    def generate(self, *args: Any, **options: Any) -> Any:
        self.said = 0
        return super().generate(*args, **options)


@pytest.fixture(scope="module")
def model() -> Scripted:
    return Scripted(deepseek_config(vocab_size=300, bos_token_id=None, eos_token_id=None, pad_token_id=None)).eval()


def answer(model: Scripted, tokenizer: Any, said: str, **options: Any) -> tuple[str, int]:
    """What comes of a script, and after how many tokens the model was stopped."""
    model.script = [*tokenizer.encode(said, add_special_tokens=False), tokenizer.encode("~")[0]]
    (text,) = generate(model, tokenizer, ["q"], max_new_tokens=80, **options)
    return text, model.said


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
def test_an_answer_ends_at_its_templates_end_and_at_an_invented_turn(model: Scripted, name: str, special: bool) -> None:
    tokenizer, template = templated(name, special=special), TEMPLATES[name]
    end = turn_end(tokenizer, "template")
    for mark in (*template.ends, *template.stops):
        text, said = answer(model, tokenizer, f"alpha{mark} beta", turn_end=end)
        assert text == "alpha" and said <= len("alpha") + len(mark)
    assert answer(model, tokenizer, "alpha beta gamma", turn_end=end)[0].startswith("alpha beta gamma~~")


def test_the_papers_format_is_cut_where_it_opens_a_turn(model: Scripted) -> None:
    tokenizer = byte_level()
    end = turn_end(tokenizer, "esft")
    for opened in ("\n\nUser: and you?", "\n\nUser:", "\n\nAssistant: beta", "</s>beta"):
        assert answer(model, tokenizer, f"alpha{opened}", turn_end=end)[0] == "alpha"
    for kept in ("alpha\n\nbeta", "alpha User: beta", "alpha\nUser"):
        assert answer(model, tokenizer, kept, turn_end=end)[0].startswith(f"{kept}~")
    assert answer(model, tokenizer, "alpha\n\nUser: b")[0].startswith("alpha\n\nUser: b~"), "no format, no cut"


def test_the_models_own_list_of_end_tokens_counts(model: Scripted) -> None:
    tokenizer = byte_level(("<|eot|>", "<|eom|>", "<|call|>"))
    one, two, three = tokenizer.convert_tokens_to_ids(["<|eot|>", "<|eom|>", "<|call|>"])
    try:
        for owner, named in (
            (model.generation_config, [one, two]),
            (model.generation_config, one),
            (model.config, one),
        ):
            owner.eos_token_id = named
            assert answer(model, tokenizer, "alpha<|eot|> beta")[0] == "alpha"
            assert set(end_tokens(model, tokenizer)) == {tokenizer.eos_token_id, one} | (
                {two} if named != one else set()
            )
            owner.eos_token_id = None
        assert end_tokens(model, tokenizer, TurnEnd((three,))) == [tokenizer.eos_token_id, three]
        model.generation_config, kept = None, model.generation_config
        assert end_tokens(model, tokenizer) == [tokenizer.eos_token_id]
        model.generation_config = kept
        tokenizer.eos_token = None
        with pytest.raises(UserError, match="no end token"):
            end_tokens(model, tokenizer)
    finally:
        model.generation_config = GenerationConfig()


def test_a_stop_string_that_is_a_token_ends_an_answer_as_one(model: Scripted) -> None:
    tokenizer = byte_level(("<|im_end|>",))
    text, said = answer(model, tokenizer, "alpha<|im_end|>beta", stop=["<|im_end|>"])
    assert (text, said) == ("alpha", 6)


def test_a_prompt_is_asked_as_it_was_made(model: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = byte_level()
    seen: list[list[int]] = []
    model.script = [tokenizer.eos_token_id]
    own = model.forward
    model.forward = lambda input_ids, **options: (seen.append(input_ids[0].tolist()), own(input_ids, **options))[1]
    try:
        generate(model, tokenizer, [[5, 6, 257, 7]])
        with caplog.at_level(logging.WARNING, "esft_lightning"):
            generate(model, tokenizer, ["say </s>"])
    finally:
        del model.forward
    assert seen[0] == [5, 6, 257, 7], "token ids are continued as they are"
    assert seen[1] == [tokenizer.bos_token_id, *tokenizer.encode("say </s>", split_special_tokens=True)]
    assert tokenizer.eos_token_id not in seen[1] and "holds '</s>' as text" in caplog.text
    assert (
        prompt_ids(tokenizer, "<s>q") == prompt_ids(tokenizer, "q") == [tokenizer.bos_token_id, *tokenizer.encode("q")]
    )


def run(
    verb: str, folder: Path, model: Scripted, tokenizer: Any, said: str, references: list[str], **options: Any
) -> list[str]:
    """What `test` or `predict` of a module keeps as answers, where the base says its script."""
    tokenizer.save_pretrained(folder)
    rows = [{"prompt": f"q{n}?", "raw_answers": references} for n in range(3)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = LawDataModule(test_files=str(folder / "test.jsonl"), tokenizer=str(folder), cache_dir=None, **options)
    module = make_module(str(folder), ESFTGate(), general_ability=False, max_new_tokens=60)
    module.model = model
    model.script = [*tokenizer.encode(said, add_special_tokens=False), tokenizer.encode("~")[0]]
    batches = getattr(make_trainer(folder), verb)(module, datamodule=data)
    kept = module.completions if verb == "test" else [row for batch in batches for row in batch]
    return [row["example"]["raw_prediction"] for row in kept]


@pytest.mark.parametrize("verb", ["test", "predict"])
def test_the_verbs_end_answers_as_the_chat_format_does(verb: str, tmp_path: Path, model: Scripted) -> None:
    tokenizer = byte_level()
    assert run(verb, tmp_path, model, tokenizer, " yes\n\nUser: and?", ["yes"]) == [" yes"] * 3
    tokenizer = templated("chatml")
    assert run(verb, tmp_path, model, tokenizer, "yes<|im_end|>\n", ["yes"], chat_format="template") == ["yes"] * 3
    said = run(verb, tmp_path, model, tokenizer, "yes\n\nUser: and?", ["yes"], chat_format="template")
    assert all(text.startswith("yes\n\nUser: and?~") for text in said), "not this format's way to open a turn"


def test_what_references_hold_is_no_end(tmp_path: Path, model: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "esft_lightning"):
        said = run("test", tmp_path, model, byte_level(), "a\n\nUser: b</s>", ["x", "Q\n\nUser: b"])
    assert said == ["a\n\nUser: b"] * 3
    assert caplog.text.count("answers are not cut at '\\n\\nUser:', which opens a turn: references hold it, too") == 1


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [("chatml", "yes<|im_end|>no", "yes"), ("zephyr", "yes<|user|>no", "yes"), ("zephyr", "yes</s>no", "yes")],
)
def test_the_harness_ends_answers_of_a_template_as_it_is_trained(
    model: Scripted, monkeypatch: pytest.MonkeyPatch, name: str, said: str, expected: str
) -> None:
    huggingface = pytest.importorskip("lm_eval.models.huggingface")
    from esft_lightning.evaluation.harness import evaluate_tasks, load_tasks, task_manager

    answers: list[str] = []
    own = huggingface.HFLM.generate_until
    monkeypatch.setattr(
        huggingface.HFLM, "generate_until", lambda self, *args: answers.extend(made := own(self, *args)) or made
    )
    tokenizer = templated(name)
    model.script = [*tokenizer.encode(said, add_special_tokens=False), tokenizer.encode("~")[0]]
    monkeypatch.setattr(model.config, "max_position_embeddings", 4_096)
    manager = task_manager()
    tasks = load_tasks(manager, ["esft_recall"])
    evaluate_tasks(model, tokenizer, tasks, manager, limit=2, batch_size=2, chat_template=True)
    assert answers == [expected] * 2
    assert model.generation_config.eos_token_id is None, "the model's own list is back"
