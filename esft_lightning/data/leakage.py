"""Whether validation and test rows stand in what was read before: by prompt, answer, worked content and n-gram.

| kind | what stands in a text |
|---|---|
| prompt | all words of a row's prompt, in a row |
| answer | all words of its answer, in a row (of `SHORTEST` words and more; of math, see body) |
| body | what is worked in the answer, however it is written: two steps of a chain of math, an expression of code |
| n-gram | `NGRAM` words of prompt or answer in a row, as in `esft_lightning.data.decontamination` |

Words are runs of letters and digits, lower-cased. Generators keep held-out rows out of any text by their pools
(`pools`); this file does not know those rules: it compares words, on as much text as it is given. Numbers for
`docs/data.md`:

    python -m esft_lightning.data.leakage --characters 20M
"""

from __future__ import annotations

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from esft_lightning.command_parser import CommandParser
from esft_lightning.data.decontamination import NGRAM
from esft_lightning.embedded.code import canonical
from esft_lightning.embedded.pools import Pool
from esft_lightning.embedded.rows import task_rows

__all__ = ["HELD_OUT", "SHORTEST", "HeldOutRows", "Leak", "Leaks", "find_leaks"]

TASKS = ("math", "code", "intent", "summary", "law", "translation")
HELD_OUT: dict[Pool, int] = {"validation": 200, "test": 500}
"""How many rows of each pool are held out."""
SHORTEST = 4
"""Words of the shortest answer that is looked for."""

_WORD = re.compile(r"[^\W_]+")
_EQUATION = re.compile(r"(\d+) ?([-+*/]) ?(\d+) ?(?:=|is) ?(\d+)")
_EXPRESSION = re.compile(r"(?:return |print\(|= )(.+)$", re.MULTILINE)
_SHARED_LINE = re.compile(r"^intents: .*$", re.MULTILINE | re.IGNORECASE)
"""What rows of all pools have in common word by word: the list of intents with their slots."""
_BATCH = 1_000_000  # characters
_BASE = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Leak:
    """A held-out row that stands in a text.

    Attributes:
        kind: `prompt`, `answer`, `body` or `n-gram`.
        task: The row's task.
        pool: Its pool.
        row: Its number.
        shared: What the text and the row share.
    """

    kind: str
    task: str
    pool: str
    row: int
    shared: str


@dataclass
class Leaks:
    """What was found.

    Attributes:
        texts: Texts that were read.
        words: Their words.
        seconds: Processor seconds spent.
        found: The leaks, each row once for each kind.
    """

    texts: int = 0
    words: int = 0
    seconds: float = 0.0
    found: list[Leak] = field(default_factory=list)

    def rows(self, task: str, kind: str) -> int:
        """How many rows of a task stand in the texts in that way."""
        return sum(leak.task == task and leak.kind == kind for leak in self.found)

    def table(self, tasks: Sequence[str] = TASKS) -> str:
        """Rows found, a line a task, as a Markdown table."""
        kinds = ("prompt", "answer", "body", "n-gram")
        lines = ["| task | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
        lines += [f"| {task} | " + " | ".join(str(self.rows(task, kind)) for kind in kinds) + " |" for task in tasks]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Part:
    """A prompt, an answer or a body of a held-out row, as it is looked for."""

    kind: str
    task: str
    pool: str
    row: int
    words: tuple[str, ...]

    def leak(self, kind: str = "", shared: Sequence[str] = ()) -> Leak:
        return Leak(kind or self.kind, self.task, self.pool, self.row, " ".join(shared or self.words))


@dataclass(frozen=True)
class _Runs:
    """All runs of one length: their sums in order, and where each begins in which part."""

    sums: np.ndarray
    part: np.ndarray
    start: np.ndarray


class HeldOutRows:
    """The rows that nothing may have read, ready to be looked for.

    Text is turned into numbers, a word that no row has into 0, and runs of words into 64-bit sums; a run whose sum a
    row has is then compared word by word. Time is proportional to the text.
    """

    def __init__(self, rows: Iterable[tuple[str, str, int, str, str]], ngram: int = NGRAM) -> None:
        """Prepare rows.

        Args:
            rows: Task, pool, number, prompt and answer of each.
            ngram: Words in a row that count.
        """
        self._ngram = ngram
        self._ids: dict[str, int] = {}
        self._parts: list[_Part] = []
        self._pairs: dict[str, _Part] = {}
        self._bodies: dict[str, _Part] = {}
        starts: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        self._powers = [np.uint64(pow(_BASE, place, 1 << 64)) for place in range(ngram)]
        for task, pool, number, prompt, answer in rows:
            for kind, text, least in (("prompt", prompt, 1), ("answer", answer, SHORTEST)):
                if (kind, task) == ("answer", "math"):
                    continue  # without their signs, numbers are no answer: chains are compared as bodies
                words = tuple(_WORD.findall(_SHARED_LINE.sub(" ", text).lower()))
                if len(words) >= least:
                    size = min(len(words), ngram)
                    numbers = np.array([self._ids.setdefault(word, len(self._ids) + 1) for word in words], np.uint64)
                    starts[size].append((len(self._parts), self._sums(numbers, size)))
                    self._parts.append(_Part(kind, task, pool, number, words))
            if task == "math":
                for pair in _pairs(answer):
                    self._pairs.setdefault(pair, _Part("body", task, pool, number, (pair,)))
            if task == "code":
                body = canonical(answer.split("return ", 1)[1])
                self._bodies.setdefault(body, _Part("body", task, pool, number, (body,)))
        self._runs = {size: _sorted_runs(some) for size, some in starts.items()}

    @classmethod
    def embedded(cls, tasks: Sequence[str] = TASKS, seed: int = 0) -> HeldOutRows:
        """The validation and test rows of embedded tasks (`HELD_OUT`)."""
        return cls(
            (
                task,
                pool,
                number,
                row["prompt"].removeprefix("User: ").removesuffix("\n\nAssistant:"),
                row["raw_answers"][0],
            )
            for task in tasks
            for pool, count in HELD_OUT.items()
            for number, row in enumerate(task_rows(task, pool, count, seed))
        )

    def find(self, texts: Iterable[str]) -> Leaks:
        """Look for the rows in texts; a run never goes over the end of a text."""
        leaks = Leaks()
        found: dict[tuple[str, str, str, int], Leak] = {}
        for batch in _batches(texts):
            started = time.process_time()
            leaks.texts += len(batch)
            words: list[str] = []
            for text in batch:
                words += _WORD.findall(_SHARED_LINE.sub(" ", text).lower())
                words.append("")
                for leak in self._contents(text):
                    found.setdefault((leak.kind, leak.task, leak.pool, leak.row), leak)
            leaks.words += len(words) - len(batch)
            for leak in self._look_up(words):
                found.setdefault((leak.kind, leak.task, leak.pool, leak.row), leak)
            leaks.seconds += time.process_time() - started
        leaks.found = [found[place] for place in sorted(found)]
        return leaks

    def _sums(self, numbers: np.ndarray, size: int) -> np.ndarray:
        """The sum of every run of that many numbers."""
        total = np.zeros(max(0, len(numbers) - size + 1), np.uint64)
        for place, power in enumerate(self._powers[:size]):
            total += numbers[place : place + len(total)] * power
        return total

    def _look_up(self, words: list[str]) -> Iterator[Leak]:
        """The runs of words that a row has, too."""
        ids = self._ids
        numbers = np.fromiter((ids.get(word, 0) for word in words), np.uint64, len(words))
        for size, runs in self._runs.items():
            sums = self._sums(numbers, size)
            first = np.minimum(np.searchsorted(runs.sums, sums), len(runs.sums) - 1)
            for place in np.flatnonzero(runs.sums[first] == sums).tolist():
                for entry in range(first[place], len(runs.sums)):
                    if runs.sums[entry] != sums[place]:
                        break
                    yield from self._compared(words, place, self._parts[runs.part[entry]], int(runs.start[entry]), size)

    def _compared(self, words: list[str], place: int, part: _Part, start: int, size: int) -> Iterator[Leak]:
        """What a run with the right sum is: words that happen to agree in it, a part of a row, or all of it."""
        if tuple(words[place : place + size]) != part.words[start : start + size]:
            return
        if size == self._ngram:
            yield part.leak("n-gram", part.words[start : start + size])
        if start == 0 and tuple(words[place : place + len(part.words)]) == part.words:
            yield part.leak()

    def _contents(self, text: str) -> Iterator[Leak]:
        """The chains and expressions of a text that are a row's."""
        if self._pairs:
            yield from (self._pairs[pair].leak() for pair in _pairs(text) if pair in self._pairs)
        if self._bodies:
            for match in _EXPRESSION.finditer(text):
                if len(match[1]) < 120 and (body := canonical(match[1])) in self._bodies:
                    yield self._bodies[body].leak()


def _sorted_runs(some: list[tuple[int, np.ndarray]]) -> _Runs:
    sums = np.concatenate([sums for _, sums in some])
    part = np.concatenate([np.full(len(sums), number) for number, sums in some])
    start = np.concatenate([np.arange(len(sums)) for _, sums in some])
    order = np.argsort(sums, kind="stable")
    return _Runs(sums[order], part[order], start[order])


def _pairs(text: str) -> Iterator[str]:
    """Consecutive equations of a text, whatever stands between them."""
    steps = ["{}{}{}={}".format(*match) for match in _EQUATION.findall(text)]
    return (f"{first} {second}" for first, second in pairwise(steps))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size > _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def find_leaks(texts: Iterable[str], tasks: Sequence[str] = TASKS, seed: int = 0) -> Leaks:
    """Look for the embedded tasks' held-out rows in texts.

    Args:
        texts: Whatever was read: documents, chats, training rows.
        tasks: Whose rows.
        seed: Seed of the rows.
    """
    return HeldOutRows.embedded(tasks, seed).find(texts)


def main() -> None:
    """Command line."""
    from esft_lightning.embedded.corpus import everything

    parser = CommandParser(
        prog="python -m esft_lightning.data.leakage",
        description="Look for validation and test rows in what pretraining and the instruction stage read.",
    )
    parser.add_argument("--characters", type=characters, default="20M", help="how much of the corpus to read (20M)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the corpus")
    arguments = parser.parse_args()
    held_out = HeldOutRows.embedded()
    leaks = held_out.find(everything(arguments.characters, arguments.seed))
    print(leaks.table())
    print(
        f"\n{leaks.words:,} words in {leaks.texts:,} texts; {leaks.words / leaks.seconds:,.0f} words a processor-second"
    )
    for leak in leaks.found[:20]:
        print(f"{leak.task} {leak.pool} row {leak.row}, {leak.kind}: {leak.shared}")
    raise SystemExit(bool(leaks.found))


def characters(text: str) -> int:
    """A number of characters: `500k`, `20M`.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a number such as 500k or 20M, got {text!r}")
    return int(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])


if __name__ == "__main__":
    main()
