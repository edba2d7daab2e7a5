"""Training rows that hold evaluation questions: found against brute force, and left out by the data modules."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from chat_rows import chat, write_jsonl

from esft_lightning.data.decontamination import SHORTEST, contaminated, words
from esft_lightning.data.few_shot import split_examples
from esft_lightning.data.rows import DataError
from esft_lightning.data.samples import check_sample
from esft_lightning.data.sources import embedded_records
from esft_lightning.tasks import TASKS, LawDataModule


def prompt(question: str) -> str:
    return f"User: {question}\n\nAssistant:"


def test_words_are_runs_of_letters_and_single_chinese_characters() -> None:
    assert words("It's 3.5% of Ünal_x") == ["it", "s", "3", "5", "of", "ünal", "x"]
    assert words("打开TV吧。") == ["打", "开", "tv", "吧"]
    assert words("ᎠᎬᏱ ᎤᏙᏓ") == ["ᎠᎬᏱ".lower(), "ᎤᏙᏓ".lower()]


def test_rows_are_those_that_brute_force_finds() -> None:
    rng = random.Random(0)
    vocabulary = [f"w{n}" for n in range(6)]
    for n in (5, 7):
        rows = [" ".join(rng.choices(vocabulary, k=rng.randint(1, 30))) for _ in range(60)]
        questions = [" ".join(rng.choices(vocabulary, k=rng.randint(2, 12))) for _ in range(12)]
        questions += ["a question of another kind", "xylophone"]  # so that not all begin or end alike
        expected = []
        for number, row in enumerate(rows):
            padded = f" {row} "
            pieces = []
            for question in questions:
                found = question.split()
                size = min(n, len(found))
                if size >= SHORTEST:
                    pieces += [f" {' '.join(found[i : i + size])} " for i in range(len(found) - size + 1)]
            if any(piece in padded for piece in pieces):
                expected.append(number)
        assert 0 < len(expected) < len(rows)
        assert [hit.row for hit in contaminated(rows, [prompt(q) for q in questions], n)] == expected


def test_examples_of_a_few_shot_prompt_and_the_common_instruction_are_no_contamination() -> None:
    instruction = "Please say what the following sentence wants and answer as one line of JSON and nothing else: "
    example = f"{instruction}turn the lamp in the hall to a warm and very dim light tonight at nine"
    call = f"{instruction}call my sister who lives in the north at noon on monday about the car and the dog"
    asked = [call, f"{instruction}play it"]
    prompts = [prompt(f"{example} lamp\n\n{question}") for question in asked]
    shorter = f"{instruction}CALL my sister, who lives in the north at noon on Monday"
    rows = [example, f"{instruction}open the door", call, shorter]
    assert [(hit.row, hit.question) for hit in contaminated(rows, prompts)] == [(2, 0)]
    assert [(hit.row, hit.question) for hit in contaminated(rows, prompts, 11)] == [(2, 0), (3, 0)]


def test_too_few_words_say_nothing() -> None:
    with pytest.raises(ValueError, match="fewer than 5 words in a row say nothing"):
        contaminated([], [], 4)


SIZES = (1, 2, 3, 7, 100)


def asked_as_rows(prompts: list[str]) -> list[Any]:
    """Training rows whose question is that of an evaluation prompt."""
    return [chat(split_examples(prompt)[-1], "the answer")["messages"] for prompt in prompts]


def found_of(prompts: list[str], rows: list[Any]) -> int:
    hits = contaminated(rows, prompts)
    assert [hit.row for hit in hits] == sorted({hit.row for hit in hits})
    return len(hits)


@pytest.mark.parametrize("task", TASKS)
def test_rows_that_are_the_questions_are_found_in_sets_of_any_size(task: str) -> None:
    prompts = [check_sample(row, "test")["prompt"] for _, row in embedded_records(task, "test", 100, 0)]
    others = [row["messages"] for _, row in embedded_records(task, "train", 300, 0)]
    for size in SIZES:
        for start in (0, 41):
            some = prompts[start : start + size]
            assert found_of(some, asked_as_rows(some)) == len(some)
    assert found_of(prompts, others) < 0.1 * len(others), "rows of the same templates are no questions"


def published(data: Path, name: str) -> list[str]:
    """The evaluation prompts of a published data set."""
    path, column = {
        "gsm8k": ("math/gsm8k_test.jsonl", "question"), "math500": ("math/math500.jsonl", "problem"),
        "humaneval": ("code/HumanEval.jsonl.gz", "prompt"), "mbpp": ("code/mbpp_release_v1.jsonl", "prompt"),
    }.get(name, (f"esft/eval/{name}.jsonl", "prompt"))  # fmt: skip
    with (gzip.open if path.endswith(".gz") else open)(data / path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [check_sample({"prompt": row[column], "raw_answers": ["x"]}, "test")["prompt"] for row in rows]


@pytest.mark.parametrize("name", ["gsm8k", "math500", "humaneval", "mbpp", "intent", "law", "summary", "translation"])
def test_published_questions_are_found_in_sets_of_any_size(reference_data: Path, name: str) -> None:
    prompts = published(reference_data, name)
    for size in (*SIZES, len(prompts)):
        assert found_of(prompts[:size], asked_as_rows(prompts[:size])) == len(prompts[:size])


def test_what_many_questions_share_is_nobodys_own() -> None:
    story = "the innkeeper of the old harbour kept the chest of a traveller for seven days and lost it in the end"
    shared = [f"In docket {n}, {story}; what is owed, number {n}?" for n in range(12)]
    two = [f"Please put the following sentence into plain English now: {word}" for word in ("tor", "mel", "vas")] + [
        f"Please say the following plain English sentence in Velm now: {word}" for word in ("cat", "dog", "sun")
    ]
    short = ["Play it", "Stop", "播放", "2+3", "Is it (a) or (b)?"]
    prompts = [prompt(question) for question in (*shared, *two, *short)]
    rows = asked_as_rows(prompts)
    assert found_of(prompts, rows) == len(rows)
    assert found_of(prompts, [[{"role": "system", "content": "Be kind."}, *row] for row in rows]) == len(rows)
    near = [
        f"In docket 77, {story}; what is owed, number 77?",
        two[0].replace("tor", "sul"),
        "Play it again",
        "2-3",
        "放",
    ]
    assert found_of(prompts, [chat(question, "Stop")["messages"] for question in near]) == 0
    longer = [f"Somebody asked me this: {question} I do not know." for question in (*shared, *two)]
    assert found_of(prompts, [chat("hello", question)["messages"] for question in longer]) == len(longer)


def test_case_spacing_and_closing_marks_make_no_other_question() -> None:
    prompts = [prompt("Play  it"), prompt("Ｗhat?"), prompt("where\nis it")]
    rows = [chat(question, "x")["messages"] for question in ("play it.", "What", "Where is it?")]
    assert [hit.question for hit in contaminated(rows, prompts)] == [0, 1, 2]


def test_a_last_paragraph_that_begins_as_the_first_is_no_question_of_its_own() -> None:
    asked = "The question is what the court will say of it."
    losses = (("Ann", "boat"), ("Bob", "hat"), ("Cid", "dog"))
    facts = [f"The facts: {who} lost a {what} at sea.\n\n{asked}" for who, what in losses]
    prompts = [prompt(text) for text in facts]
    rows = [chat(text, "x")["messages"] for text in facts]
    assert found_of(prompts, rows) == 3
    other = f"The facts: Dan lost an oar in a river.\n\n{asked}"
    assert found_of(prompts, [chat(other, "x")["messages"]]) == 0


def test_validation_and_general_rows_are_held_against_the_questions_too(tmp_path: Path) -> None:
    questions = [f"In docket {n}, what is owed by whom, and why, to number {n}?" for n in range(6)]
    innocent = [chat(f"Something else {n}", f"said {n}") for n in range(20)]
    asked = [chat(question, "an answer") for question in questions]
    files = {
        "train_files": [*innocent[:8], *asked[:2]], "val_files": [*innocent[8:14], *asked[2:4], innocent[0]],
        "general_files": [*innocent[14:], *asked[4:], innocent[8]],
        "test_files": [{"prompt": question, "raw_answers": ["x"]} for question in questions],
    }  # fmt: skip
    paths = {name: str(write_jsonl(tmp_path / f"{name}.jsonl", rows)) for name, rows in files.items()}
    data = LawDataModule(source="files", general_source="files", cache_dir=None, **paths)
    data.setup("fit")
    for what in ("training", "validation", "general"):
        assert data.report[f"contaminated_{what}_rows"] == 2
    assert data.report["contaminated_rows"] == 6
    assert data.report["validation_rows_in_training"] == data.report["validation_rows_in_general"] == 1
    counts = {part: data.report[f"{part}_rows"] for part in ("train", "val", "general")}
    assert counts == {"train": 7, "val": 7, "general": 6}
    general = write_jsonl(tmp_path / "all_asked.jsonl", asked)
    data = LawDataModule(source="files", cache_dir=None, **{**paths, "general_files": str(general)})
    data.setup("fit")
    assert data.report["contaminated_general_rows"] == 6 and data.report["general_rows"] == 0
    with pytest.raises(DataError, match="every validation row is an evaluation question"):
        LawDataModule(source="files", cache_dir=None, **{**paths, "val_files": str(general)}).setup("fit")
    with pytest.raises(DataError, match="every training row stands in val_files, too"):
        LawDataModule(
            source="files", cache_dir=None, train_files=paths["train_files"], val_files=paths["train_files"]
        ).setup("fit")


def law_files(folder: Path, rows: list[str], questions: list[str]) -> dict[str, str]:
    train = [{"messages": [{"role": "user", "content": row}, {"role": "assistant", "content": "fine"}]} for row in rows]
    test = [{"prompt": prompt(question), "raw_answers": ["fine"]} for question in questions]
    for name, content in (("train", train), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    return {"train_files": str(folder / "train.jsonl"), "test_files": str(folder / "test.jsonl")}


LEAKED = "the defendant took the red bicycle of his neighbour at night and sold it on the market next morning"


def test_the_data_module_leaves_them_out_and_says_which(tmp_path: Path) -> None:
    files = law_files(tmp_path, ["one row", f"Case: {LEAKED}. Ruling?", "another row"], [f"{LEAKED}?", "What else?"])
    data = LawDataModule(source="files", **files, val_fraction=0, cache_dir=None)
    data.setup("fit")
    assert data.report["contaminated_rows"] == 1
    assert (
        "train.jsonl:2 shares with evaluation question 1: the defendant took" in data.report["contaminated_examples"][0]
    )
    assert data.report["train_rows"] == 2
    kept = LawDataModule(source="files", **files, val_fraction=0, cache_dir=None, decontaminate=0)
    kept.setup("fit")
    assert kept.report["train_rows"] == 3
    assert "contaminated_rows" not in kept.report


def test_training_on_the_evaluation_rows_alone_is_refused(tmp_path: Path) -> None:
    data = LawDataModule(source="files", **law_files(tmp_path, [LEAKED], [LEAKED]), val_fraction=0, cache_dir=None)
    with pytest.raises(DataError, match="are these the evaluation rows"):
        data.setup("fit")


def test_few_shot_prompts_are_built_of_training_rows_as_the_papers_are(tmp_path: Path) -> None:
    rows = [f"Case {number}: a fact.\nRuling:" for number in range(6)]
    files = law_files(tmp_path, rows, ["Case 9: a deed.\nRuling:", "Case 8: a deed.\nRuling:"])
    data = LawDataModule(source="files", **files, few_shot=4, decontaminate=0, cache_dir=None)
    first, second = (sample["prompt"] for sample in data.test_samples)
    blocks = first.removeprefix("User: ").removesuffix("\n\nAssistant:").split("\n\n")
    assert len(blocks) == 5
    assert blocks[-1] == "Case 9: a deed.\nRuling:"
    assert set(blocks[:-1]) < {f"{row} fine" for row in rows}
    assert len(set(blocks)) == 5
    assert first.split("Case 9")[0] != second.split("Case 8")[0], "each question draws its own"
    again = LawDataModule(source="files", **files, few_shot=4, decontaminate=0, cache_dir=None)
    assert again.test_samples[0]["prompt"] == first
    with pytest.raises(DataError, match="few_shot=7, and 6 training rows"):
        _ = LawDataModule(source="files", **files, few_shot=7, decontaminate=0, cache_dir=None).test_samples
