"""A judge that takes its time, says too much, or says what nobody may read."""

from __future__ import annotations

import gzip
import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from scoring.judge.misbehaving_endpoint import Reply, chat, serve, status

from esft_lightning.errors import SettingError
from esft_lightning.scoring.judge.answers import AnswerCache
from esft_lightning.scoring.judge.bounded_http import LONGEST_ANSWER
from esft_lightning.scoring.judge.client import KEY_VARIABLES, JudgeClient, JudgeError
from esft_lightning.scoring.judge.grading import Judge
from esft_lightning.scoring.judge.rubric import Rubric
from esft_lightning.scoring.judge.spending import SpendingLimit

KEY = "sk-a/secret+that nobody may see"
ASKED: dict[str, Any] = {"model": "judge", "messages": []}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(KEY_VARIABLES[0], KEY)


def dripping(part: bytes, head: bool) -> Reply:
    """Answer byte by byte for a minute: each wait is short, all together are not."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if head else b"Content-Length: 9999\r\n\r\n"))
        try:
            for _ in range(600):
                handler.wfile.write(part)
                time.sleep(0.1)
        except OSError:  # the other side has hung up
            handler.close_connection = True

    return reply


@pytest.mark.parametrize(("part", "head"), [(b" ", False), (b"X-More: 1\r\n", True)], ids=["body", "headers"])
def test_an_attempt_as_a_whole_has_a_time_limit(part: bytes, head: bool) -> None:
    with serve(lambda request, number: dripping(part, head) if number == 0 else "Score: 6") as endpoint:
        with pytest.raises(JudgeError, match=r"imeout.*no whole answer within 0\.3 s"):
            JudgeClient(endpoint.url, retries=0, timeout=0.3).ask(ASKED)
        endpoint.requests.clear()
        assert JudgeClient(endpoint.url, retries=1, timeout=0.3).ask(ASKED).text == "Score: 6"
        assert len(endpoint.requests) == 2


def zipped(body: bytes) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.wfile.write(gzip.compress(body))
        handler.close_connection = True

    return reply


LONG = json.dumps({"choices": [{"message": {"content": "x" * LONGEST_ANSWER}}]})


@pytest.mark.parametrize("reply", [status(200, LONG), zipped(LONG.encode()), status(500, LONG)], ids=["plain", "zipped", "an error"])  # fmt: skip # noqa: E501
def test_an_answer_has_a_longest_size(reply: Reply) -> None:
    too_long = pytest.raises(JudgeError, match=f"longer than {LONGEST_ANSWER} bytes")
    with serve(lambda request, number: reply) as endpoint, too_long:
        JudgeClient(endpoint.url, retries=0).ask(ASKED)


def test_a_zipped_answer_of_usual_size_is_read() -> None:
    body = json.dumps({"choices": [{"message": {"content": "Score: 7"}}], "usage": {"total_tokens": 5}})
    with serve(lambda request, number: zipped(body.encode())) as endpoint:
        answer = JudgeClient(endpoint.url, retries=0).ask(ASKED)
    assert (answer.text, answer.tokens) == ("Score: 7", 5)


@pytest.mark.parametrize("offset", [*range(230, 310, 7)])
def test_the_key_is_struck_out_before_a_text_is_cut(offset: int) -> None:
    refusal = status(401, json.dumps({"error": {"message": "x" * offset + KEY}}))
    with serve(lambda request, number: refusal) as endpoint, pytest.raises(JudgeError) as raised:
        JudgeClient(endpoint.url, retries=0).ask(ASKED)
    said = str(raised.value)
    assert not any(KEY[:length] in said for length in range(4, len(KEY) + 1)), said
    assert len(said) <= 300


@pytest.mark.parametrize("form", [KEY, json.dumps(KEY)[1:-1], "sk-a/secret%2Bthat%20nobody%20may%20see", "sk-a%2Fsecret%2Bthat%20nobody%20may%20see"])  # fmt: skip # noqa: E501
def test_a_key_that_the_endpoint_repeats_is_neither_kept_nor_told(tmp_path: Path, form: str) -> None:
    with serve(lambda request, number: f"Your key is {form}.\nScore: 8") as endpoint:
        client = JudgeClient(endpoint.url, retries=0)
        assert client.ask(ASKED).text == "Your key is [key].\nScore: 8"
        judge = Judge(client, "judge", Rubric("s", "{answer}"), AnswerCache(tmp_path), SpendingLimit(10**6))
        assert judge.grade([("asked", "right", "written")]).scores == [0.8]
    (entry,) = tmp_path.rglob("*.json")
    assert form not in entry.read_text() and "[key]" in entry.read_text()


def test_a_placeholder_for_a_key_changes_no_grade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLES[0], "8")
    with serve(lambda request, number: "Score: 8") as endpoint:
        assert JudgeClient(endpoint.url, retries=0).ask(ASKED).text == "Score: 8"


@pytest.mark.parametrize("body", ["[" * 200_000, '{"choices": 3}', '{"choices": [{"message": []}]}', "9" * 5000])
def test_what_is_no_answer_is_one_line(body: str) -> None:
    with serve(lambda request, number: status(200, body)) as endpoint, pytest.raises(JudgeError):
        JudgeClient(endpoint.url, retries=0).ask(ASKED)


def test_any_text_is_kept_and_a_count_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    with serve(lambda request, number: chat("half a pair: \ud83d\nScore: 4", tokens=-1000)) as endpoint:
        judge = Judge(JudgeClient(endpoint.url), "judge", Rubric("s", "{answer}"), AnswerCache(tmp_path), SpendingLimit(10**6))  # fmt: skip # noqa: E501
        for remembered in (0, 1):
            grades = judge.grade([("asked", "right", "written")])
            assert (grades.scores, grades.remembered) == ([0.4], remembered)
        assert grades.tokens > 400, "taken at its worst"


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("https://me:sk-secret@host/v1", {}, "holds a name or password; a key belongs in ESFT_JUDGE_API_KEY"),
        ("https://[host/v1", {}, "--judge-url"),
        ("https://host/v1", {"retries": -1}, "--judge-retries -1"),
        ("https://host/v1", {"timeout": 0.0}, "--judge-timeout 0"),
        ("https://host/v1", {"timeout": float("nan")}, "--judge-timeout nan"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_the_secret(url: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said.replace("[", r"\[")) as raised:
        JudgeClient(url, **options)
    assert "sk-secret" not in str(raised.value)
