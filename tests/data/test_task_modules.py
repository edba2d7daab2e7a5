"""The DataModules: sources, split, general data, profile, fingerprint, evaluation samples, the authors' files."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from chat_rows import chat, write_jsonl

from esft_lightning import tasks
from esft_lightning.data import TaskDataModule
from esft_lightning.data.rows import DataError
from esft_lightning.tasks import TASKS, CodeDataModule, IntentDataModule, LawDataModule, MathDataModule, scorer

MODULES = {task: getattr(tasks, f"{task.capitalize()}DataModule") for task in TASKS}


@pytest.fixture
def make(files: dict[str, Path], tokenizer_folder: str):
    """An IntentDataModule over the small training file."""

    def build(**options) -> IntentDataModule:
        defaults = {
            "source": "files",
            "train_files": str(files["train"]),
            "tokenizer": tokenizer_folder,
            "sequence_length": 64,
            "cache_dir": None,
        }
        return IntentDataModule(**{**defaults, **options})

    return build


def order(module: TaskDataModule, epoch: int = 0) -> list[list[int]]:
    loader = module.train_dataloader()
    loader.set_epoch(epoch)
    return [batch["row_index"].tolist() for batch in loader]


def text_of(module: TaskDataModule, loader) -> str:
    return "".join(module.tokenizer.decode(batch["input_ids"][batch["token_mask"]]) for batch in loader)


@pytest.mark.parametrize("task", TASKS)
def test_embedded_rows_of_each_task_train_validate_profile_and_test(task, tokenizer_folder, tmp_path):
    counts = {"train_rows": 60, "val_rows": 7, "test_rows": 5}
    module = MODULES[task](**counts, tokenizer=tokenizer_folder, cache_dir=str(tmp_path))
    assert module.task == task
    module.prepare_data()
    module.setup("fit")
    assert module.report["train_rows"] == 60 and module.report["val_rows"] == 7
    for loader in (module.train_dataloader(), module.val_dataloader(), module.profile_dataloader()):
        batch = next(iter(loader))
        assert batch["input_ids"].shape[1] == 512 and (batch["labels"] != -100).any()
    samples = module.test_samples
    assert len(samples) == 5 == sum(len(batch["samples"]) for batch in module.test_dataloader())
    for sample in samples:
        assert sample["prompt"].startswith("User: ") and sample["prompt"].endswith("\n\nAssistant:")
        assert all(isinstance(answer, str) for answer in sample["raw_answers"])


@pytest.mark.parametrize("task", TASKS)
def test_embedded_validation_rows_can_be_asked_and_scored_and_are_those_whose_loss_is_measured(task, tokenizer_folder):
    counts = {"train_rows": 20, "val_rows": 6, "test_rows": 5, "few_shot": 1, "sequence_length": 8192}
    module = MODULES[task](**counts, tokenizer=tokenizer_folder, cache_dir=None)
    samples = module.validation_samples
    assert len(samples) == 6 and sum(len(batch["samples"]) for batch in module.validation_sample_loader()) == 6
    read = text_of(module, module.val_dataloader())
    options = {"allow_code_execution": True} if task == "code" else {}
    for sample in samples[:2]:
        question = sample["prompt"].removesuffix("\n\nAssistant:").split("\n\n")[-1]  # behind its example
        assert question in read
        assert scorer(task)(f" {sample['raw_answers'][0]}", sample, **options) == pytest.approx(1.0)
    asked = {sample["prompt"] for sample in module.test_samples}
    assert len(asked) == 5 and asked.isdisjoint(sample["prompt"] for sample in samples)


def test_validation_rows_of_files_can_be_asked_where_they_are_a_question_and_an_answer(make, tmp_path):
    rows = [chat("Why?", "Because."), {"messages": chat("a", "b")["messages"] * 2}]
    path = write_jsonl(tmp_path / "val.jsonl", rows)
    asked = make(val_files=str(path)).validation_samples
    assert [(sample["prompt"], sample["raw_answers"]) for sample in asked] == [
        ("User: Why?\n\nAssistant:", ["Because."])
    ]
    assert len(make().validation_samples) == 2  # of those set aside
    with pytest.raises(DataError, match="no validation row is a question with one answer"):
        make(val_fraction=0.0).validation_sample_loader()
    assert MODULES["law"](val_fraction=0, cache_dir=None).validation_samples == []


def test_the_base_class_alone_is_refused():
    with pytest.raises(ValueError, match="use IntentDataModule"):
        TaskDataModule()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "files", "train_files": None}, "needs train_files"),
        ({"general_ratio": 1.0}, "general_ratio has no effect here: it is read with a general_source"),
        ({"random_concat_ratio": 1.5}, r"must lie in \[0, 1\]"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_contradictory_settings_are_refused_at_once(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_every_strategy_sees_the_same_batches(make):
    """Order depends on (seed, epoch): not on the profile, on its seed, on who built the module, or on global seeds."""
    plain = make()
    expected = [order(plain, epoch) for epoch in range(3)]
    profiled = make()
    list(profiled.profile_dataloader())
    list(profiled.val_dataloader())
    torch.manual_seed(123)
    half = make()
    next(iter(half.profile_dataloader()))
    for module in (profiled, half, make(profile_seed=9)):
        assert [order(module, epoch) for epoch in range(3)] == expected
    tokens = [batch["input_ids"] for batch in plain.train_dataloader()]
    assert all(torch.equal(a, b["input_ids"]) for a, b in zip(tokens, profiled.train_dataloader(), strict=True))
    assert expected[0] != expected[1] and order(make(seed=1)) != expected[0]


def test_ranks_share_out_the_batches_of_one_process(make):
    alone = make(batch_size=5)
    ranks = [make(batch_size=5) for _ in range(2)]
    for rank, module in enumerate(ranks):
        module.trainer = SimpleNamespace(global_rank=rank, world_size=2)
    for loader in ("train_dataloader", "val_dataloader", "profile_dataloader"):
        whole, *parts = ([b["row_index"].tolist() for b in getattr(m, loader)()] for m in (alone, *ranks))
        assert parts == [[batch[rank::2] for batch in whole] for rank in range(2)]


def test_validation_is_two_percent_of_the_training_rows_and_disjoint(make):
    module = make(on_overflow="next_row")
    module.setup("fit")
    assert (module.report["train_rows"], module.report["val_rows"]) == (118, 2)
    held_out = [n for n in range(120) if f"answer {n * 7}</s>" in text_of(module, module.val_dataloader())]
    trained = [n for n in range(120) if f"answer {n * 7}</s>" in text_of(module, module.profile_dataloader())]
    assert len(held_out) == 2 and sorted(held_out + trained) == list(range(120))
    other = make(on_overflow="next_row", seed=4)
    assert text_of(other, other.val_dataloader()) != text_of(module, module.val_dataloader())


def test_own_validation_files_leave_all_training_rows(make, files):
    module = make(val_files=str(files["general"]), on_overflow="next_row")
    module.setup("fit")
    assert (module.report["train_rows"], module.report["val_rows"]) == (120, 60)
    assert "task question" not in text_of(module, module.val_dataloader())
    assert make(val_fraction=0.0).val_dataloader() == []


def test_general_data_trains_at_its_ratio_and_is_never_profiled_or_validated(make, files):
    without = make(on_overflow="next_row")
    module = make(
        general_source="files", general_files=str(files["general"]), general_ratio=0.25, on_overflow="next_row"
    )
    module.setup("fit")
    assert module.report["general_rows"] == round(0.25 * 118)
    training = text_of(module, module.train_dataloader())
    assert training.count("general question") == module.report["general_rows"]
    assert training.count("task question") == 118
    for loader in (module.profile_dataloader(), module.val_dataloader()):
        assert "general" not in text_of(module, loader)
    assert module.data_fingerprint == without.data_fingerprint, "a profile does not see general data"
    assert module.report["training_fingerprint"] != without.report["training_fingerprint"]
    mixed = [max(batch) for batch in order(module)]
    assert len({index >= module.report["train_packed"] for index in mixed[: len(mixed) // 2]}) == 2, (
        "mixed, not appended"
    )


def test_general_ratio_defaults_to_the_papers_with_a_source_and_says_when_rows_are_too_few(make, files, caplog):
    assert make().general_ratio == 0.0
    module = make(general_source="files", general_files=str(files["general"]))
    with caplog.at_level(logging.WARNING):
        module.setup("fit")
    assert module.general_ratio == 1.0 and module.report["general_rows"] == 60
    assert "60 rows where general_ratio wants 118" in caplog.text
    embedded = make(general_source="embedded", general_ratio=0.1)
    embedded.setup("fit")
    assert embedded.report["general_rows"] == 12


def test_fingerprint_follows_what_the_profile_reads(make, files, tmp_path):
    base = make(sequence_length=256).data_fingerprint
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(files["train"].read_bytes())
    assert make(train_files=str(copy), sequence_length=256).data_fingerprint == base
    assert make(batch_size=2, padding_free=True, sequence_length=256).data_fingerprint == base
    changed = [
        make(sequence_length=255),
        *(
            make(sequence_length=256, **{name: value})
            for name, value in {
                "seed": 1,
                "random_concat_ratio": 0.9,
                "train_rows": 100,
                "profile_seed": 1,
                "on_overflow": "next_row",
            }.items()
        ),
    ]
    assert len({base, *(module.data_fingerprint for module in changed)}) == len(changed) + 1


def test_the_profile_has_its_own_order_and_can_be_limited(make):
    module = make(profile_sequences=5)
    first = [row for batch in module.profile_dataloader() for row in batch["row_index"].tolist()]
    assert len(first) == 5 == len(set(first))
    assert first == [row for batch in module.profile_dataloader() for row in batch["row_index"].tolist()]
    assert first != [
        row for b in make(profile_seed=2, profile_sequences=5).profile_dataloader() for row in b["row_index"]
    ]


def test_attention_inside_samples_keeps_every_bos(make):
    module = make(cross_sample_attention=False, sequence_length=512)
    module.setup("fit")
    assert module.report["train_dropped_bos"] == 0
    assert "position_ids" in next(iter(module.train_dataloader()))
    crossing = make(random_concat_ratio=1.0, sequence_length=512)
    crossing.setup("fit")
    assert crossing.report["train_dropped_bos"] > 50


def test_a_bad_file_stops_before_training_or_is_counted(make, files, tmp_path):
    path = tmp_path / "law.jsonl"
    path.write_text(files["train"].read_text() + '{"message": 1}\n')
    with pytest.raises(DataError, match=r"law\.jsonl:121: 'messages' is missing"):
        make(train_files=str(path)).setup("fit")
    module = make(train_files=str(path), on_bad_row="skip")
    module.setup("fit")
    assert module.report["skipped_rows"] == 1 and "law.jsonl:121" in module.report["skipped_examples"][0]
    assert module.data_fingerprint == make().data_fingerprint
    path.write_text('{"message": 1}\n')
    with pytest.raises(DataError, match=r"no usable row .*1 bad rows skipped"):
        make(train_files=str(path), on_bad_row="skip").setup("fit")


def test_long_samples_are_cut_refused_or_skipped_and_counted(make, files, tmp_path):
    path = tmp_path / "long.jsonl"
    long = json.dumps(chat("long question " * 40, "the very end"))
    path.write_text(files["train"].read_text() + long + "\n")
    options = {"train_files": str(path), "val_fraction": 0.0}
    cut = make(**options)
    cut.setup("fit")
    assert cut.report["long_samples"] == 1 and cut.report["skipped_long"] == 0
    assert "the very end</s>" in text_of(cut, cut.profile_dataloader()), "its tail is kept"
    with pytest.raises(DataError, match=r"long\.jsonl:121: \d+ tokens, more than sequence_length=64 \(1 such"):
        make(**options, on_long_sample="error").setup("fit")
    skipped = make(**options, on_long_sample="skip")
    assert skipped.data_fingerprint == make(val_fraction=0.0).data_fingerprint
    assert skipped.report["skipped_long"] == 1


def test_evaluation_files_keep_their_extras_and_errors_name_them(make, tmp_path):
    good = {"prompt": "User: q\n\nAssistant:", "raw_answers": ["a"], "tests": ["assert 1"]}
    path = write_jsonl(tmp_path / "eval.jsonl", [good, chat("q2", "a2"), {"prompt": "q3", "raw_answers": "a3"}])
    samples = make(test_files=str(path)).test_samples
    assert [sample["prompt"] for sample in samples] == [f"User: {q}\n\nAssistant:" for q in ("q", "q2", "q3")]
    assert [sample["raw_answers"] for sample in samples] == [["a"], ["a2"], ["a3"]] and samples[0]["tests"]
    assert len(make(test_files=str(path), test_rows=2).test_samples) == 2
    for bad, message in [
        ({"prompt": "q"}, "'raw_answers' is missing"),
        ({"prompt": "", "raw_answers": ["a"]}, "'prompt' is empty"),
        ({"prompt": "q", "raw_answers": []}, "'raw_answers' is not a list of answers"),
        ({"prompt": "q", "raw_answers": [3]}, r"raw_answers\[0\] is int"),
    ]:
        write_jsonl(path, [good, bad])
        with pytest.raises(DataError, match=r"eval\.jsonl:2: " + message):
            _ = make(test_files=str(path)).test_samples
        with pytest.raises(DataError, match=r"eval\.jsonl:2: "):
            make(test_files=str(path)).setup("fit")
    with pytest.raises(DataError, match="no evaluation samples with source=files; set test_files"):
        make().test_dataloader()


def test_prompts_beyond_the_context_lose_examples_and_it_is_said(make, tmp_path, caplog):
    prompt = "User: " + "\n\n".join(["Label: " + "word " * 150 + "\nIntent: x"] * 6 + ["Label: last\nIntent:"])
    path = write_jsonl(tmp_path / "eval.jsonl", [{"prompt": prompt + "\n\nAssistant:", "raw_answers": ["x"]}])
    with caplog.at_level(logging.INFO, "esft_lightning"):
        module = make(test_files=str(path))
        (sample,) = module.test_samples
    assert module.report["max_prompt_tokens"] == 750, "the tokenizer's 1,000 positions minus a quarter for the answer"
    assert 0 < sample["prompt"].count("Label:") < 7 and sample["prompt"].endswith("Label: last\nIntent:\n\nAssistant:")
    assert len(module.tokenizer.encode(sample["prompt"])) <= 750
    assert f"{module.report['dropped_examples']} few-shot examples dropped" in caplog.text
    assert make(test_files=str(path), max_prompt_tokens=10_000).report.get("dropped_examples") is None


@pytest.mark.parametrize(("module", "name", "rows"), [(IntentDataModule, "intent", 7_280), (LawDataModule, "law", 927)])
def test_the_authors_files_load_whole(reference_data, module, name, rows, tokenizer_folder, tmp_path):
    data = module(
        "files",
        train_files=str(reference_data / "esft" / "train" / f"{name}.jsonl"),
        test_files=str(reference_data / "esft" / "eval" / f"{name}.jsonl"),
        tokenizer=tokenizer_folder,
        sequence_length=4_096,
        cache_dir=str(tmp_path),
        max_prompt_tokens=3_584,
        val_fraction=0.0,
        test_rows=40,
        decontaminate=0,
    )
    data.setup("fit")
    assert data.report["train_rows"] == rows
    assert data.report["skipped_rows"] == 0
    lines = (reference_data / "esft" / "train" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    question, answer = (message["content"].strip() for message in json.loads(lines[0])["messages"])
    batch = next(b for b in data.train_dataloader() if 0 in b["row_index"].tolist())
    decoded = data.tokenizer.decode(batch["input_ids"][batch["row_index"].tolist().index(0)])
    assert decoded.startswith(f"<s>User: {question}\n\nAssistant: {answer}</s>")
    assert len(data.test_samples) == 40 and "raw_answers" in data.test_samples[0]
    assert all(len(data.tokenizer.encode(s["prompt"])) <= 3_584 for s in data.test_samples)


def test_setup_twice_reads_once(make, files):
    module = make()
    module.setup("fit")
    files["train"].unlink()
    module.setup("fit")
    module.setup("validate")
    assert len(order(module)) == len(module.train_dataloader())


def test_a_row_of_the_loader_is_a_row_of_the_file(make, files):
    """End to end, by hand: with room for all, the packed row decodes to the file's rows in order."""
    module = make(val_fraction=0.0, random_concat_ratio=0.0, sequence_length=8_192)
    (batch,) = module.train_dataloader()
    lines = [json.loads(line)["messages"] for line in files["train"].read_text().splitlines()]
    expected = "".join(f"<s>User: {q['content'].strip()}\n\nAssistant: {a['content']}</s>" for q, a in lines)
    assert module.tokenizer.decode(batch["input_ids"][batch["token_mask"]]) == expected
    learned = module.tokenizer.decode(batch["labels"][batch["labels"] != -100])
    assert learned == "".join(f" {a['content']}</s>" for _, a in lines)


def test_humaneval_and_mbpp_files_become_samples_their_scorer_can_run(reference_data, tokenizer_folder, tmp_path):
    from esft_lightning.tasks.code_score import score_code_batch

    train = write_jsonl(tmp_path / "train.jsonl", [chat("q", "a"), chat("r", "b")])
    for name, count in (("HumanEval.jsonl.gz", 164), ("mbpp_release_v1.jsonl", 974)):
        path = reference_data / "code" / name
        module = CodeDataModule("files", train_files=str(train), test_files=str(path), tokenizer=tokenizer_folder)
        samples = module.test_samples
        assert len(samples) == count and samples[0]["prompt"].startswith("User: Complete this Python function:")
        answers = [sample["raw_answers"][0] for sample in samples[:3]]
        assert score_code_batch(answers, samples[:3], allow_code_execution=True) == [1.0] * 3


def test_gsm8k_files_train_and_test_through_column_mappings(reference_data, tokenizer_folder):
    module = MathDataModule(
        "files",
        train_files=str(reference_data / "math" / "gsm8k_train.jsonl"),
        test_files=str(reference_data / "math" / "gsm8k_test.jsonl"),
        column_mapping={"user": "question", "assistant": "answer"},
        test_column_mapping={"prompt": "question", "raw_answers": "answer"},
        train_rows=50,
        decontaminate=0,
        tokenizer=tokenizer_folder,
        cache_dir=None,
    )
    module.setup("fit")
    assert module.report["train_rows"] == 49 and len(module.test_samples) == 1_319
    assert scorer("math")(module.test_samples[0]["answer"], module.test_samples[0]) == 1.0
