"""Training rows that hold evaluation questions: found against brute force, and left out by the data modules."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from esft_lightning.data import LawDataModule
from esft_lightning.data.decontamination import SHORTEST, contaminated, words
from esft_lightning.data.rows import DataError


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
