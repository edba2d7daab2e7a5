r"""One notation for answers: `plain` brings what Unicode, LaTeX and Markdown write in many ways to one.

`\dfrac12`, `\frac{1}{2}`, `½` become `\frac{1}{2}`; `12{,}345`, `12\,345`, `12'345` become `12345` where the groups
have three digits; `\text{east}`, `**east**`, `$east$` become `east`. Spaces between digits stay: `1 2` are two
numbers. This file knows notation. It does not know which answers are equal.
"""

import re
import unicodedata

from esft_lightning.scoring.latex_text import argument, commands

__all__ = ["LONGEST_ANSWER", "plain"]

LONGEST_ANSWER = 2000
"""Characters; a longer text is no answer and stays as it is."""

_THIN = "\u2009"
_THIN_SPACES = "\u00a0\u2007\u2008\u2009\u200a\u202f"
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\ufeff"))
_SYMBOLS = {
    **dict.fromkeys("−﹣－–—‐‑‒", "-"), **dict.fromkeys("×✕⨯", r"\times "), **dict.fromkeys("·⋅∙", r"\cdot "),
    "÷": "/", "⁄": "/", "∕": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ",
    "≠": r"\ne ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "⋃": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "°": r"^\circ ",
    "º": r"^\circ ", "˚": r"^\circ ", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"', "、": ",", "。": ".", "｡": ".",
    "θ": r"\theta ", "∠": r"\angle ", "△": r"\triangle ", "ℝ": r"\mathbb{R} ", "∅": r"\emptyset ", "…": "...",
    **dict.fromkeys("≈≃≅", r"\approx "),
}  # fmt: skip
_HIGHER_ROOT = re.compile(r"([∛∜])\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|\w))")
_SCRIPTS = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ]+)|([₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎]+)")
_ROOT = re.compile(r"(?:√|(?<![\\A-Za-z])sqrt(?=\s*[({\d]))\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|\w))")
_VULGAR = re.compile("[¼-¾⅐-⅞]")

_STYLE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|bf|it|sf|tt|normal)|mbox|hbox|fbox|boxed|framebox|emph|underline"
    r"|boldsymbol|bm|pmb|operatorname\*?|color\{[^{}]*\}|mathop|ensuremath|displaystyle\s*(?=\{))(?![A-Za-z])"
)
_DROPPED = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|bf|rm|it|sf|tt|mathstrut"
    r"|hfill|noindent|tiny|small|normalsize|large|Large|LARGE|huge|Huge)(?![A-Za-z])\.?"
)
_SPACES = re.compile(r"\\(?:[,;:> ]|quad|qquad|thinspace|enspace|medspace|thickspace|hspace\*?\{[^{}]*\})|~")
_FRACTION = re.compile(r"\\[dtc]?frac(?![A-Za-z])")
_SQUARE_ROOT = re.compile(r"\\sqrt(?![A-Za-z])\s*(?!\[)")
_INDEXED_ROOT = re.compile(r"\\sqrt\s*\[\s*(\w+)\s*\]\s*(\w)")
_LOGARITHM = re.compile(r"\\log\s*_\s*(\w)")
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
          "eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip
_NAMED_BASE = re.compile(rf"(?<=\w)\s*_\s*\{{?\s*({'|'.join(_BASES)})\s*\}}?(?![A-Za-z])", re.IGNORECASE)
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\(?:degree|textdegree)(?![A-Za-z])")
_SAME = (
    (re.compile(r"\\(?:leqslant|leq|le)(?![A-Za-z])|<="), r"\\le "),
    (re.compile(r"\\(?:geqslant|geq|ge)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\(?:lt)(?![A-Za-z])"), "<"), (re.compile(r"\\(?:gt)(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"), (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:lbrack)(?![A-Za-z])"), "["), (re.compile(r"\\(?:rbrack)(?![A-Za-z])"), "]"),
    (re.compile(r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])|\\infin(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"(?<![\\A-Za-z])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"\\(?:land|wedge)(?![A-Za-z])"), " and "), (re.compile(r"\\(?:lor|vee)(?![A-Za-z])"), " or "),
    (re.compile(r"(?<=[)\]}])\s*(?:U|u|\\bigcup)\s*(?=[(\[\\])"), r" \\cup "),
)  # fmt: skip
_GROUPS = re.compile(rf"(?<![\d.,'_{_THIN}])\d{{1,3}}(?:([,'_{_THIN}])\d{{3}})(?:\1\d{{3}})*(?![\d'{_THIN}]|,\d)")
_POWER = re.compile(r"(?<=[\w)}\]])\*\*(?=[\w({\\-])")
_EXPONENT = re.compile(r"\^\s*(?:\(([^()]*)\)|(-?\d{2,}|-\w))")
_WRAPPINGS = (
    (r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$"), ("***", "***"), ("**", "**"), ("__", "__"),
    ("```", "```"), ("`", "`"), ('"', '"'), ("''", "''"), ("'", "'"), ("<b>", "</b>"), ("<strong>", "</strong>"),
)  # fmt: skip


def plain(answer: str) -> str:
    """Bring an answer to the one notation; its ends are free of wrappings and closing punctuation.

    Args:
        answer: LaTeX, Markdown or plain text, without the prose around it.
    """
    answer = answer.strip()
    if len(answer) > LONGEST_ANSWER:
        return answer
    text = _latex(_unicode(answer)).strip()
    while (bare := _unwrapped(text)) != text:
        text = bare
    return _grouped_digits(text)


def _unicode(text: str) -> str:
    """ASCII and LaTeX for what Unicode has characters for."""
    text = text.translate(_INVISIBLE)
    text = _SCRIPTS.sub(lambda match: f"^{{{_ascii(match[1])}}}" if match[1] else f"_{{{_ascii(match[2])}}}", text)
    text = _HIGHER_ROOT.sub(lambda match: f"\\sqrt[{'34'[match[1] == '∜']}]{{{match[2] or match[3]}}}", text)
    text = _ROOT.sub(lambda match: f"\\sqrt{{{match[1] or match[2] or match[3]}}}", text)
    text = _VULGAR.sub(lambda match: "\\frac{{{}}}{{{}}}".format(*_ascii(match[0]).split("⁄")), text)
    text = "".join(_SYMBOLS.get(character, character) for character in text)
    for space in _THIN_SPACES:
        text = text.replace(space, _THIN)
    if not text.isascii():  # full-width letters and digits, those of other scripts
        text = "".join(_digit_or_letter(character) for character in text)
    return text


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2212", "-")


def _digit_or_letter(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return _ascii(character) if "\uff01" <= character <= "\uff5e" else character


def _latex(text: str) -> str:
    """One way of writing for each thing that LaTeX can write in several."""
    text = text.replace("\\\\", "\0")  # the end of a matrix row is no space
    text = _EXPONENT.sub(lambda match: f"^{{{match[1] or match[2]}}}", _POWER.sub("^", text))
    text = re.sub(r",\s*\\!\s*(?=\d)", ",", text).replace("{,}", ",").replace("\\!", "")
    text = re.sub(r"(?<=\d)(?:\\[,;: ]|~|\\thinspace(?![A-Za-z]))\s?(?=\d)", _THIN, text)
    text = _SPACES.sub(" ", text)
    while (styled := _without_styles(text)) != text:
        text = styled
    text = _DEGREES.sub(r"^\\circ ", _DROPPED.sub(" ", text))
    for pattern, one in _SAME:
        text = pattern.sub(one, text)
    text = _LOGARITHM.sub(r"\\log_{\1}", _INDEXED_ROOT.sub(r"\\sqrt[\1]{\2}", text))
    text = _NAMED_BASE.sub(lambda match: f"_{{{_BASES[match[1].lower()]}}}", text)
    text = _with_groups(_with_groups(text, _FRACTION, "\\frac", 2), _SQUARE_ROOT, "\\sqrt", 1)
    text = re.sub(r"\\([%$#&_])", r"\1", text)
    return re.sub(r"[ \t\r\n\f\v]+", " ", text).replace("\0", "\\\\")


def _without_styles(text: str) -> str:
    r"""Without `\text{…}` and its like, whose content stays."""
    out, at = [], 0
    for start, end, content in commands(text, _STYLE):
        out += [text[at:start], " ", content]
        at = end
    return "".join(out) + text[at:]


def _with_groups(text: str, pattern: re.Pattern[str], name: str, count: int) -> str:
    r"""With each argument of a command in a group: `\frac12` becomes `\frac{1}{2}`."""
    out, at = [], 0
    while match := pattern.search(text, at):
        arguments, end = [], match.end()
        while len(arguments) < count and (taken := argument(text, end)):
            arguments.append(_with_groups(taken[0].strip(), pattern, name, count))
            end = taken[1]
        if len(arguments) < count:
            out.append(text[at : match.end()])
            at = match.end()
            continue
        out += [text[at : match.start()], name, *(f"{{{content}}}" for content in arguments)]
        at = end
    return "".join(out) + text[at:]


def _unwrapped(text: str) -> str:
    """Without one pair of wrappings around the whole, or the punctuation at its end."""
    text = text.strip()
    if text.endswith((".", ",", ";", ":")) and not text.endswith(".."):
        return text[:-1]
    for left, right in _WRAPPINGS:
        if text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right):
            inner = text[len(left) : len(text) - len(right)]
            if right not in inner and left not in inner:
                return inner
    if text.startswith("{") and (whole := argument(text, 0)) and whole[1] == len(text):
        return whole[0]
    for pair in (r"\$([^$]+)\$(?!\d)", r"\\\((.+?)\\\)", r"\*\*([^*]+)\*\*"):  # `$3$ and $5$`
        if text.count("$") != 1 and (text.startswith("$") or "\\(" in text or "**" in text):
            text = re.sub(pair, r"\1", text)
    return text


def _grouped_digits(text: str) -> str:
    """Numbers without their thousands separators; between brackets a tight comma separates coordinates."""
    separated = ", " in text or not re.search(r"[(\[]|\\\{", text)

    def joined(match: re.Match[str]) -> str:
        return match[0] if match[1] == "," and not separated else re.sub(r"\D", "", match[0])

    return _GROUPS.sub(joined, text).replace(_THIN, " ")
