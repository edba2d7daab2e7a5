"""The judge, asked for real over HTTP, by an endpoint that behaves and one that does not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from scoring.judge.misbehaving_endpoint import Endpoint, chat, cut, serve, status

from esft_lightning.__main__ import main
from esft_lightning.scoring.judge.answers import Answer, AnswerCache
from esft_lightning.scoring.judge.client import KEY_VARIABLES, JudgeClient, JudgeError
from esft_lightning.scoring.judge.grading import Judge
from esft_lightning.scoring.judge.rubric import RUBRICS, Rubric, load_rubric, read_grade
from esft_lightning.scoring.judge.spending import SpendingLimit, SpendingLimitReached

KEY = "sk-a-secret-that-nobody-may-see"
RUBRIC = Rubric("You grade.", "right: {reference}\nwritten: {answer}")
BUSY = status(429, json.dumps({"error": {"message": "slow down"}}), Retry_After="0.01")


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(KEY_VARIABLES[0], KEY)


def judge_at(endpoint: Endpoint, folder: Path, *, limit: int = 10**6, retries: int = 2, **options: Any) -> Judge:
    client = JudgeClient(endpoint.url, retries=retries, timeout=options.pop("timeout", 5.0))
    return Judge(client, "judge", RUBRIC, AnswerCache(folder), SpendingLimit(limit), **options)


def triples(count: int) -> list[tuple[str, str, str]]:
    return [("asked", f"right {number}", f"written {number}") for number in range(count)]


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Good.\nScore: 7", 0.7),
        ("Score: 3\nOn reflection,\nscore: 8.5", 0.85),
        ("**Score:** 10/10", 1.0),
        ("Score: 0", 0.0),
        ("Score is 4", 0.4),
        ("Score: 11", None),
        ("Score: -1", None),
        ("Score: 70/100", None),
        ("a fine answer, 7 points", None),
        ("", None),
    ],
)
def test_a_grade_is_the_last_one_said_and_out_of_ten(text: str, grade: float | None) -> None:
    assert read_grade(text) == grade


def test_the_rubrics_that_come_along_show_reference_and_answer_whatever_braces_they_hold() -> None:
    names = {path.stem for path in RUBRICS.glob("*.yaml")}
    assert names == {"summary", "law", "translation"}
    for name in names:
        system, user = load_rubric(RUBRICS / f"{name}.yaml").messages("p", '{"a": {reference}}', "{answer} {0}")
        assert system["role"] == "system"
        assert '{"a": {reference}}' in user["content"]
        assert "{answer} {0}" in user["content"]
        assert user["content"].endswith("Score: N")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("system: a\n", r"expected the keys system and user, found \['system'\]"),
        ("system: a\nuser: 3\n", "user is a int; expected a text"),
        ("system: a\nuser: '{answer} {question}'\n", r"user has a place \{question\}; expected some of prompt"),
        ("system: a\nuser: nothing\n", "user has no place {answer}"),
        ("system: [", "no rubric can be read"),
    ],
)
def test_what_is_no_rubric_is_refused_by_file_and_key(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(ValueError, match=rf"r\.yaml: {said}"):
        load_rubric(tmp_path / "r.yaml")


def test_grades_come_in_order_and_are_never_asked_for_twice(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], number: int) -> str:
        return f"Score: {request['messages'][-1]['content'].split()[-1]}"

    with serve(answer) as endpoint:
        rows = [*triples(5), *triples(2)]
        grades = judge_at(endpoint, tmp_path).grade(rows)
        assert grades.scores == [0.0, 0.1, 0.2, 0.3, 0.4, 0.0, 0.1]
        assert len(endpoint.requests) == grades.asked == 5, "equal completions are one request"
        assert grades.tokens == 500
        assert all(request["temperature"] == 0 for request in endpoint.requests)
        again = judge_at(endpoint, tmp_path).grade(rows)
        assert again.scores == grades.scores
        assert (again.asked, again.tokens, again.remembered) == (0, 0, 7)
        assert len(endpoint.requests) == 5


def test_no_more_requests_are_open_at_once_than_allowed(tmp_path: Path) -> None:
    with serve(lambda request, number: "Score: 1", pause=0.05) as endpoint:
        judge_at(endpoint, tmp_path, concurrency=3).grade(triples(12))
    assert 1 < endpoint.most_open <= 3


@pytest.mark.parametrize(
    "trouble",
    [BUSY, status(500), cut, status(200, "<html>no json"), status(200, json.dumps({"choices": []}))],
    ids=["busy", "broken", "cut", "nonsense", "empty"],
)
def test_a_request_that_fails_is_sent_again(tmp_path: Path, trouble: Any) -> None:
    with serve(lambda request, number: "Score: 6" if number else trouble) as endpoint:
        grades = judge_at(endpoint, tmp_path).grade(triples(1))
    assert grades.scores == [0.6]
    assert len(endpoint.requests) == 2


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with serve(lambda request, number: "Score: 6", pause=0.5) as endpoint:
        grades = judge_at(endpoint, tmp_path, retries=0, timeout=0.05).grade(triples(1))
    assert grades.scores == [None]
    assert "time" in grades.failures[0].lower()


def test_one_that_cannot_be_graded_does_not_hold_up_the_others_and_is_asked_alone_next_time(tmp_path: Path) -> None:
    broken = True

    def answer(request: dict[str, Any], number: int) -> Any:
        return status(500) if broken and "written 1" in request["messages"][-1]["content"] else "Score: 9"

    with serve(answer) as endpoint:
        grades = judge_at(endpoint, tmp_path, retries=0).grade(triples(3))
        assert grades.scores == [0.9, None, 0.9]
        assert grades.missing == 1
        broken = False
        endpoint.requests.clear()
        assert judge_at(endpoint, tmp_path).grade(triples(3)).scores == [0.9] * 3
        assert endpoint.users() == ["right: right 1\nwritten: written 1"]


def test_answers_without_a_grade_score_nothing_and_are_counted(tmp_path: Path) -> None:
    with serve(lambda request, number: "I would rather not say.") as endpoint:
        grades = judge_at(endpoint, tmp_path).grade(triples(2))
    assert grades.scores == [0.0, 0.0]
    assert grades.unparsable == 2
    assert grades.missing == 0


def test_the_spending_limit_holds_with_many_requests_at_once(tmp_path: Path) -> None:
    worst = 10 + sum(len(m["content"]) + 16 for m in RUBRIC.messages("asked", "right 0", "written 0"))
    limit = 4 * worst
    with serve(lambda request, number: chat("Score: 5", tokens=worst), pause=0.01) as endpoint:
        judge = judge_at(endpoint, tmp_path, limit=limit, concurrency=8, answer_tokens=10)
        grades = judge.grade(triples(10))
    assert len(endpoint.requests) == 4
    assert grades.tokens == limit
    assert grades.missing == 6
    assert grades.failures == ["the spending limit is reached"]


def test_an_endpoint_that_counts_nothing_is_taken_at_its_worst(tmp_path: Path) -> None:
    with serve(lambda request, number: chat("Score: 5", tokens=None)) as endpoint:
        assert judge_at(endpoint, tmp_path).grade(triples(1)).tokens > 400


def test_reservations_of_many_threads_never_exceed_the_limit() -> None:
    limit, refused = SpendingLimit(100), []

    def spend() -> None:
        for _ in range(50):
            try:
                limit.reserve(7)
            except SpendingLimitReached:
                refused.append(1)
            else:
                limit.settle(7, 3)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limit.spent <= 100
    assert limit.spent + 3 * len(refused) == 600


def test_the_key_goes_to_the_endpoint_and_nowhere_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refusal = status(401, json.dumps({"error": {"message": f"no such key: {KEY}"}}))
    with serve(lambda request, number: "Score: 5") as endpoint:
        judge_at(endpoint, tmp_path).grade(triples(1))
        assert endpoint.keys == [f"Bearer {KEY}"]
        assert KEY not in json.dumps(endpoint.requests)
    with serve(lambda request, number: refusal) as endpoint:
        client = JudgeClient(endpoint.url, retries=0)
        with pytest.raises(JudgeError) as raised:
            client.ask({"model": "judge", "messages": []})
    assert KEY not in str(raised.value)
    assert "[key]" in str(raised.value)
    assert raised.value.__cause__ is None
    said = capfd.readouterr()
    assert KEY not in said.out + said.err
    assert not any(KEY in path.read_text() for path in tmp_path.rglob("*.json"))


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put({"a": 1}, Answer("Score: 1", 5))
    (entry,) = tmp_path.rglob("*.json")
    entry.write_text("{")
    with pytest.raises(ValueError, match=rf"{entry.name}: no answer of a judge .* delete the file"):
        cache.get({"a": 1})


def completions_file(folder: Path, count: int = 3) -> Path:
    path = folder / "law.jsonl"
    rows = [
        {"prompt": "p", "prediction": f"written {n}", "raw_answers": [f"right {n}"], "score": n / 10}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def score(folder: Path, endpoint: Endpoint, *more: str) -> int:
    options = ["--judge-url", endpoint.url, "--judge-model", "judge", "--judge-cache", str(folder / "cache")]
    return main(["score", "--task", "law", "--completions", str(completions_file(folder)), *options, *more])


def test_the_verb_shows_the_judge_beside_the_tasks_own_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(lambda request, number: "Score: 5") as endpoint:
        assert score(tmp_path, endpoint, "--report", str(tmp_path / "report.json")) == 0
    said = capsys.readouterr().out
    assert "judge judge: 3 requests, 300 tokens; 0 completions were graded before; 0 got no grade" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert [entry["metric"] for entry in report["metrics"]] == ["task", "judge"]
    assert report["metrics"][1]["mean"][0] == 0.5


def test_the_verb_says_what_is_missing_and_goes_on_next_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(lambda request, number: "Score: 5") as endpoint:
        assert score(tmp_path, endpoint, "--judge-token-limit", "10") == 2
        assert "3 of 3 completions could not be graded: the spending limit is reached" in capsys.readouterr().err
        assert not endpoint.requests
        assert score(tmp_path, endpoint) == 0
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "intent", "--judge-url", "http://x", "--judge-model", "m"], "intent has a rule of its own"),
        (["--task", "law", "--judge-url", "http://x"], "--judge-url and --judge-model belong together"),
        (["--task", "law", "--judge-url", "x", "--judge-model", "m"], "expected http://… or https://…"),
    ],
)
def test_options_that_cannot_be_are_refused_first(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "--completions", str(completions_file(tmp_path)), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_a_judge_nothing_of_it_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from esft_lightning.__main__ import main; main(sys.argv[1:]); "
        "print([name for name in ('openai', 'yaml', 'torch', 'esft_lightning.scoring.judge') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "score", "--task", "law", "--completions", str(completions_file(tmp_path))]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
