r"""Where a worked solution gives its final answer.

The first of these that a text has counts:

1. what follows the first `####` with a number behind it (GSM8K); a heading (`#### Step 1`, `#### 1. Add`) has none;
2. the last `\boxed{…}`, `\fbox{…}` or `\boxed …` (MATH); boxes side by side are a list;
3. the last "answer is", "Answer:", `<answer>`, `"answer":`, 答案 and their like in other languages;
4. a last line `#### …` without a number;
5. what stands last, without a mark (`math_unmarked`).

A model's reasoning up to `</think>` is left out. This file knows marks. `math_statement` knows what a mark's statement
says, `math_equality` when two answers are one.
"""

import re
from functools import lru_cache

from esft_lightning.scoring.latex_text import commands, set_aside
from esft_lightning.scoring.math_statement import NUMBER, first_clause, is_value, value_of
from esft_lightning.scoring.math_unmarked import unmarked_answer

__all__ = ["final_answer", "marked_answer"]

_HASHES = re.compile(r"####+[ \t]*([^\n]+)")
_NUMBERED = re.compile(rf"[*_$\\(\[ ]*(?:{NUMBER}|\\[dt]?frac|\$)")
_HEADING = re.compile(r"[*_]*\d+(?:\s*[.):：](?!\d)|\s+[-–—])\s*[*_]*\s*[^\W\d_]|[*_]*\d+\s+[A-Z][a-z]+")
_BOX = re.compile(r"(?:\\(?:boxed|fbox|framebox)|\x08oxed|\x0cbox)(?![A-Za-z])")
_BARE_BOX = re.compile(
    r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*((?:\\.|[^\s{$\\])(?:\\.|[^$\\\n])*?)\s*"
    r"(?=\$|\\\)|\\\]|[.,;]?\s*$|\.\s)",
    re.MULTILINE,
)
_JOINED = re.compile(
    r"[\s$,;*\\()]*(?:\\text\{\s*(?:and|or),?\s*\}|,?\s*\b(?:and|or)\b|,|;|和|或)[\s$*\\()]*(?:[A-Za-z]\s*=\s*)?"
)

_IS = (
    r"\s*(?:(?:[*_\"']|`(?!``))*\s*(?:(?:is|are|was|were|be|equals?|becomes|comes\s+(?:out\s+)?to(?:\s+be)?)\b"
    r"|[:：=]|->|=>|→|\|(?=\s))(?:[*_\s]|(?<!`)`(?!`))*)+"
)
_TO = r"(?:\s+(?:to|of|for|in)\s(?:(?!answer)[^.\n:=]){0,120}?)?"
_MARKS = re.compile(
    # the answer to … is, Answer:, **Answer:**
    rf"(?<![\w-])answers?(?:\s*\([^()\n]{{0,40}}\))?{_TO}(?:\s+(?:would|will|should|must|can\s+only))?{_IS}"
    r"|(?<![\w-])answers?(?:\s*[*_]+)?\s*\n+(?!\s*\n)(?=\s*\S)"  # a line of its own
    r"|(?<![\w-])answers?\s+(?=\$?\\?\(?-?\d)|(?<![\w-])ans\s*[.:=]\s*|^[ \t*_]*A[ \t]*[:：][*_]*[ \t]*"
    r"|<(?:final[_ -]?)?answer>\s*"
    r"|\[(?:final[_ -]?)?answer\][:：]?\s*|\b(?:correct|right|best)\s+(?:option|choice)\s*(?:is\b|[:：])[*_:：\s]*"
    r"|(?:最终)?(?:答案|答え|解答|结果)\s*(?:应该|应当|应|就)?\s*(?:[是为為即はがと等于：:=]|為)+\s*"
    r"|故?选(?=\s*\(?[A-E])|^[ \t]*答\s*[:：]\s*|(?:정답|답)\s*(?:은|는|이|:|：)\s*"
    r"|ответ\w{0,2}\s*(?:[:—–=-]|равен|это)\s*"
    r"|(?:réponse|respuesta|resposta|risposta|antwort|lösung|ergebnis)(?:\s+(?:finale?|final|correcta|endgültige))?"
    r"\s*(?:est|es|é|è|ist|lautet|beträgt|:|：)\s*:?\s*",
    re.IGNORECASE | re.MULTILINE,
)
_JSON = re.compile(r"[\"'](?:final[_ ]?)?(?:answer|result|solution|value)[\"']\s*:\s*", re.IGNORECASE)
_HOLLOW = re.compile(
    r"(?:(?:not\s+)?(?:correct|right|wrong|incorrect|clear|obvious|given|shown|found|unique|below|above|here"
    r"|as\s+follows|ready|simple|easy|yes)\b[\s:.,!]*)*$"
    r"|(?:correct|right|wrong|incorrect|clear|obvious|given\s+in|shown|found\s+by|a\s+(?:whole\s+)?number|an?\s+integer"
    r"|the\s+same)\b",
    re.IGNORECASE,
)
"""What is said of an answer without giving it."""
_BEFORE = re.compile(r"\s(?:is|are)\s+(?:the|our|my)\s+(?:final\s+|correct\s+)?answer\b", re.IGNORECASE)
_THEREFORE = re.compile(r"^(?:so|thus|hence|therefore|then|and)\b[\s,]*", re.IGNORECASE)
_ANSWER_AS_TEXT = re.compile(r"\\text(?:bf|it|rm)?\{([^{}]*\banswer\b[^{}]*)\}", re.IGNORECASE)
_TAG = re.compile(r"</?(?:b|strong|i|em|u|p|br|span|div|code|h\d)\b[^<>]*>", re.IGNORECASE)


def marked_answer(text: str) -> str | None:
    r"""Return the answer that a solution marks by `####`, `\boxed{…}` or "answer is"; None where it marks none."""
    return _marked(_said(text))


def final_answer(text: str) -> str | None:
    """Return the final answer of a worked solution as text, or None where it holds no answer."""
    said = _said(text)
    marked = _marked(said)
    return unmarked_answer(said) if marked is None else marked


def _said(text: str) -> str:
    """What was said in the end, in marks that the patterns know."""
    before, thought, after = text.rpartition("</think>")
    text = after if thought and after.strip() else before if thought else text
    text = text.replace("\u2212", "-").replace("\r\n", "\n").replace("\r", "\n")
    text = _TAG.sub(" ", re.sub(r"<sup>(.{1,20}?)</sup>", r"^{\1}", text))
    text = _ANSWER_AS_TEXT.sub(r"\1 ", text)
    return _joined_digits(re.sub(r"([ \t])[ \t]{2,}", r"\1", re.sub(r"\n{3,}", "\n\n", text)))


def _joined_digits(text: str) -> str:
    """LaTeX's thousands separators as commas and thin spaces."""
    text = re.sub(r",\s*\\!\s*(?=\d)", ",", text).replace("{,}", ",")
    return re.sub(r"(?<=\d)(?:\\[,;:]|~|\\thinspace)\s?(?=\d{3})", "\u2009", text)


@lru_cache(maxsize=256)
def _marked(text: str) -> str | None:
    for find in (_behind_hashes, _boxed, _behind_words, _last_heading):
        if (answer := find(text)) is not None:
            return answer
    return None


def _behind_hashes(text: str) -> str | None:
    """The value behind the first `####` that a number follows and that is no heading."""
    lines = [match for match in _HASHES.finditer(text) if _NUMBERED.match(match[1]) and not _HEADING.match(match[1])]
    bare = [match[1].strip(" *_") for match in lines]
    at_starts = all(text[: match.start()].endswith("\n") or match.start() == 0 for match in lines)
    if len(bare) > 1 and at_starts and bare[:-1] == [str(number) for number in range(1, len(bare))]:
        lines = lines[-1:] if bare[-1] != str(len(bare)) else []  # numbered headings, perhaps with `#### 18` at the end
    for match in lines:
        stated = _stated(match[1])
        if stated and is_value(stated):
            return stated
    return None


def _boxed(text: str) -> str | None:
    """The content of the last box; of boxes that only commas, "and" or "or" separate, all."""
    found = [
        (start, end, content)
        for start, end, content in commands(text, _BOX)
        if content.strip() and text[end - 1] == "}"
    ]
    found += [(match.start(), match.end(), match[1]) for match in _BARE_BOX.finditer(text)]
    found.sort()
    if not found:
        return None
    start, _, last = found[-1]
    contents = [last]
    for earlier_start, end, content in reversed(found[:-1]):
        if end > start or not _JOINED.fullmatch(text[end:start]):
            break
        contents.insert(0, content)
        start = earlier_start
    if len(contents) > 1:
        return ", ".join(contents)
    inner = _behind_words(last) if "answer" in last.lower() else None
    return last if inner is None else inner


def _behind_words(text: str) -> str | None:
    """The statement behind the last words that announce the answer and say something."""
    if (field := _json_field(text)) is not None:
        return field
    math = set_aside(text)
    stated = None
    for mark in reversed(list(_MARKS.finditer(math.text))):
        clause = first_clause(("\n" if "\n" in mark[0] else "") + math.text[mark.end() :])
        if not clause or _HOLLOW.match(clause):
            continue
        value = value_of(clause, math)
        if is_value(value) or len(value.split()) <= 3:
            return value
        stated = stated or value
    if stated is None and (before := list(_BEFORE.finditer(math.text))):
        sentence = re.split(r"\.\s|\n", math.text[: before[-1].start()])[-1]
        return value_of(_THEREFORE.sub("", sentence.strip()), math)
    for piece in reversed(math.pieces.values()):
        if stated is None and "answer" in piece.lower() and piece != text:
            stated = _behind_words(piece)
    return stated


def _json_field(text: str) -> str | None:
    """The value of the last JSON field called answer; LaTeX's backslashes are single or doubled."""
    fields = list(_JSON.finditer(text))
    if not fields:
        return None
    rest = text[fields[-1].end() :]
    if quoted := re.match(r"([\"'])((?:\\.|(?!\1)[^\\\n])*)\1", rest):
        value = quoted[2]
        doubled = "\\" in value and all(len(run) % 2 == 0 for run in re.findall(r"\\+(?![\"'])", value))
        value = value.replace("\\\\", "\\") if doubled else value
        return _stated(value.replace('\\"', '"')) or value
    if listed := re.match(r"\[([^\[\]{}]*)\]", rest):
        return listed[1].replace('"', "").replace("\\\\", "\\")
    bare = re.match(r"[^,}\n]+", rest)
    return _stated(bare[0]) if bare else None


def _last_heading(text: str) -> str | None:
    """What stands behind `####` in the last line."""
    last = text.rstrip().rpartition("\n")[2]
    match = _HASHES.search(last)
    return _stated(match[1]) if match else None


def _stated(text: str) -> str:
    """The value that a line states."""
    math = set_aside(_joined_digits(text))
    return value_of(first_clause(math.text), math)
