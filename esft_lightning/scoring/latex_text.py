r"""LaTeX as text: balanced groups, commands with their arguments, and a text whose mathematics is set aside.

`set_aside` replaces every piece of mathematics in a solution (`$…$`, `\(…\)`, `\[…\]`, environments, commands with
their arguments) by one character of Unicode's private use area, so that prose can be read around it. This file knows
LaTeX's marks. It does not know what an answer is.
"""

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["MATH", "SetAside", "argument", "commands", "set_aside"]

FIRST, LAST = 0xE000, 0xF8FF  # the private use area
MATH = f"[{chr(FIRST)}-{chr(LAST)}]"
"""Matches one piece of mathematics in a text from `set_aside`."""

# As pandoc reads dollars: `$18 and $20` is money. Models also put spaces on both sides.
_SPAN = re.compile(
    r"\$\$(?P<display>(?:\\.|[^$\\]){1,2000}?)\$\$"
    r"|\\\[(?P<bracket>.{1,2000}?)\\\]"
    r"|\\\((?P<parenthesis>.{1,2000}?)\\\)"
    r"|(?<![\\$])\$(?![\s$])(?P<inline>(?:\\.|[^$\\\n])*?(?:\\.|[^$\\\s]))\$(?![\d$])"
    r"|(?<![\\$])\$[ \t](?P<spaced>(?:\\.|[^$\\\n])+?)[ \t]\$(?!\d)"
    r"|(?P<environment>\\begin\{(?P<name>[a-z]+\*?)\}.{0,2000}?\\end\{(?P=name)\})"
    r"|(?P<command>\\[A-Za-z]+)",
    re.DOTALL,
)
_WRITTEN_OUT = re.compile(r"(?<![\\A-Za-z])[a-z]{3,}(?![A-Za-z])")
_ONE_ARGUMENT = re.compile(r"\s*(\\[A-Za-z]+|[^\s{}\\])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_LONGEST_BARE_COMMAND = 4  # groups after a command, as in \frac{…}{…} or \sum_{…}^{…}


def argument(text: str, place: int) -> tuple[str, int] | None:
    """The argument that begins at `place`, and where the text goes on; None where no argument stands there.

    An argument is a balanced group `{…}` (escaped braces do not count), else one command or one character.
    """
    while place < len(text) and text[place].isspace():
        place += 1
    if not text.startswith("{", place):
        single = _ONE_ARGUMENT.match(text, place)
        return (single[1], single.end()) if single else None
    end = _closing_braces(text).get(place)
    return None if end is None else (text[place + 1 : end], end + 1)


@lru_cache(maxsize=64)
def _closing_braces(text: str) -> dict[int, int]:
    """Where the group of each opening brace ends; a brace that is never closed is left out."""
    closings, opened = {}, []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closings[opened.pop()] = brace.start()
    return closings


def commands(text: str, pattern: re.Pattern[str]) -> list[tuple[int, int, str]]:
    """Where commands that match `pattern` stand with their one argument: `(start, end, argument)`, none in another."""
    places, at = [], 0
    while match := pattern.search(text, at):
        taken = argument(text, match.end())
        if taken is None:
            at = match.end()
            continue
        content, at = taken
        places.append((match.start(), at, content))
    return places


class SetAside(NamedTuple):
    """A text with its mathematics set aside.

    Attributes:
        text: The text, each piece of mathematics one private character.
        pieces: Private character → the piece, without its delimiters.
    """

    text: str
    pieces: dict[str, str]

    def restored(self, part: str) -> str:
        """Put the mathematics back into a part of the text, without delimiters."""
        return re.sub(MATH, lambda match: self.pieces.get(match[0], ""), part)


@lru_cache(maxsize=8)
def set_aside(text: str) -> SetAside:
    """Set the mathematics of a text aside; what is more than Unicode has room for stays as it is."""
    text = re.sub(MATH, " ", text)
    pieces: dict[str, str] = {}
    out, at = [], 0
    while (match := _SPAN.search(text, at)) and FIRST + len(pieces) <= LAST:
        end, content = match.end(), next(value for value in match.groups() if value is not None)
        if match["inline"] is not None and _money(content):
            out.append(text[at : match.start() + 1])
            at = match.start() + 1
            continue
        if match["command"] is not None:
            end = _command_end(text, end)
            content = text[match.start() : end]
        mark = chr(FIRST + len(pieces))
        pieces[mark] = content.strip()
        out.append(text[at : match.start()] + mark)
        at = end
    return SetAside(("".join(out) + text[at:]).replace("\\$", "$"), pieces)


def _money(content: str) -> bool:
    """Whether `content`, between two dollar signs, is `18 a day and pays with her own` and no mathematics."""
    return content[0].isdigit() and "\\" not in content and len(_WRITTEN_OUT.findall(content)) > 1


def _command_end(text: str, end: int) -> int:
    """Where a command's groups and scripts end."""
    for _ in range(_LONGEST_BARE_COMMAND):
        follows = re.compile(r"\s*(?:\[[^\[\]]*\]\s*(?=\{))?[_^]?(?=\{)").match(text, end)
        taken = argument(text, follows.end()) if follows else None
        if taken is None:
            script = re.compile(r"[_^](?:\\[A-Za-z]+|[A-Za-z0-9])").match(text, end)
            return script.end() if script else end
        end = taken[1]
    return end
