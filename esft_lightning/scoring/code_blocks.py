r"""The parts of an answer that may hold its program: fenced blocks, the text around them, inline code.

Fences are Markdown's (CommonMark): three or more backticks or tildes, any language tag, any indentation; one that is
never closed runs to the end, and one that was never opened ends the text before it. A mark counts on the line of the
code, too: ` ```python import math `, `return x``` `, `<pre><code>def f(x):`. `[PYTHON]`, `[BEGIN]`, `<code>` and
their like count as fences. Prompts of a Python session (`>>> `) are taken off, and what the session printed goes. This
file knows marks. It does not know Python.
"""

import contextlib
import json
import re
from typing import NamedTuple

__all__ = ["Part", "parts"]

_FENCE = re.compile(r"[ \t]*(?:>[ \t]?)*(?P<mark>`{3,}|~{3,})[ \t]*(?P<tag>[^`\n]*)$")
_TAGS = re.compile(
    r"\s*(?:\[/?(?:BEGIN|DONE|END|PYTHON|ANSWER|CODE|SOLUTION)\]|</?(?:code|pre|python|answer|solution)(?:\s[^<>]*)?>)+\s*",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"<\|[^|\n]*\|>|</s>|<s>|<｜[^｜\n]*｜>")
_INLINE = re.compile(r"(?<!`)(`{1,3})(?!`)(?:(?:python|py)\s+)?([^\n]+?)(?<!`)\1(?!`)")
_PROMPT = re.compile(r"\s*(?:>>>|\.\.\.|In \[\d+\]:|\s{2,}\.\.\.:) ?")


_MARKS_IN_LINE = re.compile(
    r"(?<=```)[ \t]*(?:(?:python|py)\d?[ \t]+)?(?=(?:def|class|import|from|async)\b|@\w|\w+ = )"  # code behind it
    r"|(?<=[^`\s])[ \t]*(?=`{3,}[ \t]*$)"  # a fence behind code
    r"|(?<=>)(?=\s*(?:def|class|import|from|async)\b)|(?<=>)(?=<(?:code|pre))"
    r"|(?<=\S)[ \t]*(?=</(?:code|pre|python|answer|solution)>)"
)
_CODE_KEYS = ("code", "solution", "program", "completion", "answer", "python")
_BLANKS = re.compile("^[ \\t]*[\u00a0\u3000][ \\t\u00a0\u3000]*", re.MULTILINE)


class Part(NamedTuple):
    """A part of an answer.

    Attributes:
        text: What stands there.
        kind: `fenced`, `prose` (the text between fences) or `inline`.
        tag: The language tag of its fence, in small letters.
    """

    text: str
    kind: str
    tag: str = ""


def parts(answer: str) -> list[Part]:
    """The parts of an answer, in order: each fenced block and each stretch of text between them; then inline code."""
    answer = answer.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "").replace("\u200b", "")
    before, thought, after = answer.rpartition("</think>")
    answer = after if thought and after.strip() else answer if not thought else before
    answer = _TOKEN.sub("\n", _BLANKS.sub(lambda blanks: " " * len(blanks[0]), _of_json(answer)))
    found: list[Part] = []
    lines: list[str] = []
    opened: re.Match[str] | None = None
    for line in (piece for whole in answer.split("\n") for piece in _pieces(whole, lines)):
        fence = _FENCE.fullmatch(line)
        begins = opened is None and (fence is not None or _TAGS.fullmatch(line))
        ends = opened is not None and fence is not None and _closes(fence, opened)
        if not (begins or ends) or _in_docstring(lines):
            lines.append(line)
            continue
        _add(found, lines, opened)
        lines, opened = [], fence if begins else None
    _add(found, lines, opened)
    prose = [part.text for part in found if part.kind == "prose"]
    return found + [Part(match[2], "inline") for text in prose for match in _INLINE.finditer(text)]


def _of_json(answer: str) -> str:
    """The program in `{"code": "…"}`; any other answer as it is."""
    if answer.lstrip().startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(answer)
            return next((record[key] for key in _CODE_KEYS if isinstance(record.get(key), str)), answer)
    return answer


def _pieces(line: str, before: list[str]) -> list[str]:
    """A line, split where a mark stands in it; whole in a string of several lines, and where marks are a pair."""
    if ("`" not in line and "<" not in line) or line.count("```") > 1 or _in_docstring(before):
        return [line]
    return [piece for piece in _MARKS_IN_LINE.split(line) if piece.strip()] or [line]


def _closes(fence: re.Match[str], opened: re.Match[str]) -> bool:
    return fence["mark"].startswith(opened["mark"]) and not fence["tag"].strip()


def _in_docstring(lines: list[str]) -> bool:
    """Whether a string in triple quotes is open, in which a fence is text."""
    text = "\n".join(lines)
    return text.count('"""') % 2 == 1 or text.count("'''") % 2 == 1


def _add(found: list[Part], lines: list[str], fence: re.Match[str] | None) -> None:
    if not any(line.strip() for line in lines):
        return
    if fence is not None:
        lines = [re.sub(rf"^{_indentation_of(fence)}", "", line) for line in lines]
    text = "\n".join(_without_prompts(lines)).strip("\n").rstrip()
    found.append(Part(text, "fenced", fence["tag"].strip().lower()) if fence else Part(text, "prose"))


def _indentation_of(fence: re.Match[str]) -> str:
    """A pattern for what stands before a fence: its lines have the same before them, or less."""
    before = fence[0][: fence.start("mark") - fence.start()]
    return r"(?:[ \t]*>[ \t]?)?" if ">" in before else rf"[ \t]{{0,{len(before)}}}"


def _without_prompts(lines: list[str]) -> list[str]:
    """The lines that a session was told, where the first of them has a prompt; else all lines."""
    first = next(line for line in lines if line.strip())
    if not first.lstrip().startswith((">>>", "In [")):
        return lines
    return [_PROMPT.sub("", line, count=1) for line in lines if _PROMPT.match(line)]
