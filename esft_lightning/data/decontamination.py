r"""Training rows that stand in the evaluation data, too: found, and left out.

A row is contaminated when

1. one of its questions IS an evaluation question (compared without case and spacing), however short that is, or
2. a whole question of at least `SHORTEST` words stands in it, or
3. it shares `n` words in a row (13, as in GPT-3's report, Brown et al. 2020, appendix C) of what is the question's own;
   where fewer are its own, in one piece and at least `SHORTEST`, all of them.

Words are runs of letters and digits, lower-cased. In a question that is mostly Chinese or Japanese two characters make
a word: thirteen characters in a row are common phrases of its law. What many questions share is the task's instruction
or a frame, no sign of contamination, and none of a question's own words: that which all begin or end with, the longer
beginning or end of more than a quarter of them, and `n` words in a row that more than a quarter hold. Of a few-shot
prompt the question alone counts: its examples are training rows by design.

Time is proportional to the text: n-grams are looked up, rows are not compared with one another.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esft_lightning.data.few_shot import HEAD, TAIL, split_examples
from esft_lightning.errors import SettingError

NGRAM = 13
SHORTEST = 5
"""Words of the shortest question that is found as a part of a row."""
_MANY = 4
"""What more than one in so many questions holds is no question's own."""
_CHARACTER = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Contamination:
    """A training row that was found.

    Attributes:
        row: Its number.
        question: Number of the evaluation question.
        shared: The words that they share, or the first of them.
    """

    row: int
    question: int
    shared: str


def words(text: str) -> list[str]:
    """The words of a text, lower-cased; each Chinese or Japanese character by itself."""
    return _WORD.findall(text.lower())


def contaminated(
    rows: Iterable[str | Sequence[Mapping[str, Any]]], prompts: Sequence[str], ngram: int = NGRAM
) -> list[Contamination]:
    r"""Find the training rows that hold an evaluation question or a part of it.

    Args:
        rows: The messages of each training row, or a text.
        prompts: Evaluation prompts, `User: …\n\nAssistant:`, few-shot or not.
        ngram: Words in a row that count.

    Returns:
        The rows that were found, in their order, each with the first words that it shares.

    Raises:
        ValueError: `ngram` is smaller than `SHORTEST`.
    """
    if ngram < SHORTEST:
        raise SettingError(f"decontaminate={ngram}: fewer than {SHORTEST} words in a row say nothing; give 0 for none")
    index = _Index(prompts, ngram)
    found = (index.look_up([{"role": "user", "content": row}] if isinstance(row, str) else row) for row in rows)
    return [Contamination(number, *hit) for number, hit in enumerate(found) if hit is not None]


def same_text(text: str) -> str:
    """A text as it is compared: texts that differ in case, spacing or closing punctuation alone are the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" .?!。")


@dataclass(frozen=True)
class _Question:
    """One question: its number, its words, and how many of them in a row count."""

    number: int
    words: list[str]
    ngram: int
    shortest: int

    def grams(self) -> Iterator[Gram]:
        """All n-grams, or all words where they are fewer."""
        size = min(self.ngram, len(self.words))
        return (tuple(self.words[start : start + size]) for start in range(len(self.words) - size + 1))


@dataclass
class _Index:
    """The evaluation questions, for rows to be looked up in.

    Attributes:
        prompts: The evaluation prompts.
        ngram: Words in a row that count.
        texts: Question's text → its number.
        own: N-gram of a question's own words → its number.
        anchors: A question's rarest n-gram → the questions that it belongs to, which must then stand in the row whole.
        sizes: Lengths of all n-grams, longest first.
    """

    prompts: Sequence[str]
    ngram: int
    texts: dict[str, int] = field(default_factory=dict)
    own: dict[Gram, int] = field(default_factory=dict)
    anchors: dict[Gram, list[_Question]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        questions: dict[tuple[str, ...], _Question] = {}
        for number, text in _questions(self.prompts, self.texts):
            found = words(text)
            pieces = 2 if 2 * sum(_CHARACTER.fullmatch(word) is not None for word in found) > len(found) else 1
            questions.setdefault(tuple(found), _Question(number, found, pieces * self.ngram, pieces * SHORTEST))
        held = Counter(gram for question in questions.values() for gram in set(question.grams()))
        for question, taken in zip(questions.values(), _shared_words(list(questions.values()), held), strict=True):
            if len(question.words) >= question.shortest:
                rarest = min(question.grams(), key=held.__getitem__)
                self.anchors.setdefault(rarest, []).append(question)
            for gram in _own_grams(question, taken):
                self.own.setdefault(gram, question.number)
        self.sizes = sorted({len(gram) for gram in (*self.own, *self.anchors)}, reverse=True)

    def look_up(self, messages: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
        """The question that a row holds, and what they share; None where it holds none."""
        for text in (same_text(message["content"]) for message in messages if message["role"] == "user"):
            if text and (number := self.texts.get(text)) is not None:
                return number, " ".join((words(text) or [text])[: self.ngram])
        found = words("\n".join(message["content"] for message in messages))
        joined = f" {' '.join(found)} "
        for size in self.sizes:
            for start in range(len(found) - size + 1):
                gram = tuple(found[start : start + size])
                if (number := self.own.get(gram)) is not None:
                    return number, " ".join(gram)
                for question in self.anchors.get(gram, ()):
                    if f" {' '.join(question.words)} " in joined:
                        return question.number, " ".join(question.words[: question.ngram])
        return None


def _questions(prompts: Sequence[str], texts: dict[str, int]) -> Iterator[tuple[int, str]]:
    """Each prompt's number and question; `texts` is filled with what a turn may be equal to.

    The last block of a prompt is taken for its question only where no other prompt ends in the same one: what several
    end in is a paragraph of theirs that happens to begin as their first does, and the whole is the question.
    """
    bodies = [prompt.removeprefix(HEAD).removesuffix(TAIL) for prompt in prompts]
    blocks = [split_examples(prompt)[-1] for prompt in prompts]
    holders = Counter(block for block, _ in {(block, body) for block, body in zip(blocks, bodies, strict=True)})
    for number, (body, block) in enumerate(zip(bodies, blocks, strict=True)):
        for text in (body, block):
            if same := same_text(text):
                texts.setdefault(same, number)
        yield number, block if holders[block] == 1 else body


def _shared_words(questions: Sequence[_Question], held: Counter[Gram]) -> Iterator[list[bool]]:
    """For each question, which of its words it shares with many others."""
    beginnings = Counter(key for question in questions for key in _prefixes(question.words))
    ends = Counter(key for question in questions for key in _prefixes(question.words[::-1]))
    count = len(questions)
    for question in questions:
        taken = [False] * len(question.words)
        if count > 1:
            for shared, flip in ((beginnings, 1), (ends, -1)):
                for length, key in enumerate(_prefixes(question.words[::flip]), 1):
                    many = shared[key] > max(1, count / _MANY) and length >= question.shortest
                    if shared[key] == count or many:
                        place = length - 1 if flip == 1 else len(taken) - length
                        taken[place] = True
                        if many:  # with all before it
                            taken[slice(0, length) if flip == 1 else slice(len(taken) - length, None)] = [True] * length
            for start, gram in enumerate(question.grams()):
                if len(gram) == question.ngram and held[gram] > max(1, count / _MANY):
                    taken[start : start + len(gram)] = [True] * len(gram)
        yield taken


def _prefixes(text: Sequence[str]) -> Iterator[int]:
    """A key of each beginning of a text, one word longer each."""
    key = 0
    for word in text:
        key = hash((key, word))
        yield key


def _own_grams(question: _Question, taken: Sequence[bool]) -> Iterator[Gram]:
    """The n-grams of the words that no other question shares; of a single piece that is shorter, all of it."""
    pieces: list[list[str]] = [[]]
    for word, shared in zip(question.words, taken, strict=True):
        if shared:
            pieces.append([])
        else:
            pieces[-1].append(word)
    pieces = [piece for piece in pieces if piece]
    for piece in pieces:
        size = min(question.ngram, len(piece))
        if size == question.ngram or (len(pieces) == 1 and size >= question.shortest):
            yield from (tuple(piece[start : start + size]) for start in range(len(piece) - size + 1))
