"""Completions → grades: what is on disk is not asked again, the rest is asked for side by side, within a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, Protocol

from esft_lightning.scoring.judge.answers import Answer, AnswerCache
from esft_lightning.scoring.judge.client import JudgeError
from esft_lightning.scoring.judge.rubric import Rubric, read_grade
from esft_lightning.scoring.judge.spending import SpendingLimit, SpendingLimitReached

__all__ = ["Grades", "Judge"]

_MESSAGE_TOKENS = 16  # of a message besides its text: role and separators, generously


class _Client(Protocol):
    url: str

    def ask(self, request: Mapping[str, Any]) -> Answer: ...


@dataclass
class Grades:
    """What came out.

    Attributes:
        scores: A score in [0, 1] for each completion; None where there is none yet.
        unparsable: Completions whose judge gave no grade; they score 0, as in the paper.
        asked: Requests that were sent.
        remembered: Grades that were on disk.
        tokens: Tokens that the sent requests took.
        failures: Why completions have no score, each reason once.
    """

    scores: list[float | None]
    unparsable: int = 0
    asked: int = 0
    remembered: int = 0
    tokens: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Completions without a score."""
        return sum(score is None for score in self.scores)


class Judge:
    """Grades completions by a rubric."""

    def __init__(
        self,
        client: _Client,
        model: str,
        rubric: Rubric,
        cache: AnswerCache,
        limit: SpendingLimit,
        *,
        concurrency: int = 4,
        answer_tokens: int = 400,
    ) -> None:
        """Put the parts together.

        Args:
            client: Sends requests.
            model: The model's name at the endpoint.
            rubric: What the judge is told.
            cache: Where answers are kept.
            limit: What may be spent.
            concurrency: Requests at the same time.
            answer_tokens: The longest answer.
        """
        self._client, self._model, self._rubric = client, model, rubric
        self._cache, self._limit = cache, limit
        self._concurrency, self._answer_tokens = concurrency, answer_tokens

    def request(self, prompt: str, reference: str, answer: str) -> dict[str, Any]:
        """The request for one completion: greedy, of bounded length."""
        return {
            "model": self._model,
            "messages": self._rubric.messages(prompt, reference, answer),
            "temperature": 0,
            "max_tokens": self._answer_tokens,
        }

    def grade(
        self, completions: Sequence[tuple[str, str, str]], on_done: Callable[[], object] = lambda: None
    ) -> Grades:
        """Grade `(prompt, reference, answer)` triples.

        A completion that cannot be graded does not hold up the others; what was graded stays on disk, so that the same
        call asks for the rest alone. When the limit is reached nothing more is sent.

        Args:
            completions: What to grade; equal ones are asked for once.
            on_done: Called when a completion has its grade or has failed.
        """
        requests = [self.request(*triple) for triple in completions]
        places: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            places.setdefault(repr(request), []).append(number)
        grades = Grades([None] * len(requests))
        with ThreadPoolExecutor(self._concurrency) as pool:
            futures = {pool.submit(self._answer, requests[numbers[0]]): numbers for numbers in places.values()}
            try:
                for future in as_completed(futures):
                    self._record(grades, futures[future], future)
                    for _ in futures[future]:
                        on_done()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        grades.tokens = self._limit.spent
        return grades

    def _answer(self, request: Mapping[str, Any]) -> tuple[Answer, bool]:
        """The answer and whether it had to be asked for."""
        keyed = {"url": self._client.url, **request}
        if (known := self._cache.get(keyed)) is not None:
            return known, False
        worst = self._answer_tokens + sum(
            len(message["content"].encode()) + _MESSAGE_TOKENS for message in request["messages"]
        )  # no tokenizer makes more tokens than bytes
        self._limit.reserve(worst)
        spent = 0
        try:
            answer = self._client.ask(request)
            spent = answer.tokens or worst  # an endpoint that counts nothing is taken at its worst
        finally:
            self._limit.settle(worst, spent)
        self._cache.put(keyed, answer)
        return answer, True

    @staticmethod
    def _record(grades: Grades, numbers: Sequence[int], future: Any) -> None:
        try:
            answer, asked = future.result()
        except (JudgeError, SpendingLimitReached) as error:
            reason = str(error) if isinstance(error, JudgeError) else "the spending limit is reached"
            if reason not in grades.failures:
                grades.failures.append(reason)
            return
        grade = read_grade(answer.text)
        grades.asked += asked
        grades.remembered += 0 if asked else len(numbers)
        grades.unparsable += len(numbers) if grade is None else 0
        for number in numbers:
            grades.scores[number] = grade or 0.0
