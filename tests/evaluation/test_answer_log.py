"""Answers on disk: kept at once, found again, and never taken for those of another model."""

from __future__ import annotations

import json
from pathlib import Path

from esft_lightning.evaluation.answer_log import AnswerLog
from esft_lightning.scoring.completions import read_completions

SAMPLES = [{"prompt": f"question {n}", "raw_answers": ["right"], "extra": n} for n in range(3)]


def test_answers_are_on_disk_at_once_and_cut_lines_and_other_models_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "law.jsonl"
    log = AnswerLog(path, "one")
    log.add(SAMPLES[:2], ["ä", "b"])
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2, "before anything is closed"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"example": {"prompt": "question 2", "raw_prediction": "x"}, "identity": "two"}) + "\n")
        file.write('{"example": {"prompt": "ques')
    again = AnswerLog(path, "one")
    assert again.known == {"question 0": "ä", "question 1": "b"}
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert AnswerLog(path, "two").known == {}, "a changed model starts anew"


def test_an_answers_line_ends_at_its_newline_alone(tmp_path: Path) -> None:
    path = tmp_path / "law.jsonl"
    odd = "a\u2028b\u2029c\u0085d\x0ce\r\nf\x1cg"
    log = AnswerLog(path, "one")
    log.add([{**SAMPLES[0], "prompt": f"question {odd}"}, SAMPLES[1]], [odd, "b"])
    with path.open("ab") as file:
        file.write(b'{"example": {"prompt": "q", "raw_prediction": "\xff"}, "identity": "one"}\n')
    again = AnswerLog(path, "one")
    assert again.known == {f"question {odd}": odd, "question 1": "b"}, "a damaged line is asked again"
    assert [completion.prediction for completion in read_completions(str(path))] == [odd, "b"]


def test_a_finished_file_is_scored_in_order_and_can_be_read_by_the_verb_score(tmp_path: Path) -> None:
    path = tmp_path / "law.jsonl"
    log = AnswerLog(path, "one")
    log.add(SAMPLES[1:], ["b", "c"])
    completions = [{"example": {**sample, "raw_prediction": "a"}, "score": 0.5} for sample in SAMPLES]
    log.finish(completions)
    assert [json.loads(line)["example"]["extra"] for line in path.read_text().splitlines()] == [0, 1, 2]
    assert [completion.recorded for completion in read_completions(str(path))] == [0.5] * 3
    assert len(AnswerLog(path, "one").known) == 3
