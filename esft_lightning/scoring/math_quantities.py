r"""Numbers with or without a unit, and what looks like a number and is none, read from the one notation.

`18`, `\frac{3}{4}`, `1\frac{4}{5}`, `137 1/2`, `6.72 \times 10^{-5}`, `5 million`, `$18.90`, `90^\circ`, `5.4 cents`,
`864 inches^2` are quantities. `10:30`, `2024-01-05`, `1.2.3`, `3-5`, `1:2`, `3 5`, `52_8` are literals: equal to
themselves alone. A unit counts only against another unit: `5 cm` is `5` and is not `5 m`.
"""

import re
from fractions import Fraction
from typing import NamedTuple

__all__ = ["Quantity", "literal", "quantity"]

_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_POWER = r"10\s*\^\s*\{?\s*([+-]?\d{1,3})\s*\}?"
_NUMBER = re.compile(
    rf"(?P<whole>\d+)\s*\\frac\{{\s*(?P<top>\d+)\s*\}}\{{\s*(?P<under>\d+)\s*\}}"
    rf"|(?P<whole2>\d+) (?P<top2>\d+)\s*/\s*(?P<under2>\d+)"
    rf"|\\frac\{{\s*(?P<over>[+-]?\s*{_DECIMAL})\s*\}}\{{\s*(?P<below>[+-]?\s*{_DECIMAL})\s*\}}"
    rf"|(?P<over2>{_DECIMAL})\s*/\s*(?P<below2>{_DECIMAL})"
    rf"|(?P<start>\d*\.\d*)\\overline\{{(?P<repeated>\d+)\}}"
    rf"|(?P<factor>{_DECIMAL})\s*(?:\\times|\\cdot|\*|x)\s*{_POWER.replace('(', '(?P<power>', 1)}"
    rf"|(?P<mantissa>{_DECIMAL})[eE](?P<exponent>[+-]?\d{{1,3}})(?![\d.])"
    rf"|(?<![\d.]){_POWER.replace('(', '(?P<alone>', 1)}"
    rf"|(?P<decimal>{_DECIMAL})"
)
_PREFIX = re.compile(r"\s*([+-]?)\s*(US\$|USD|EUR|GBP|Rs\.?|[$€£¥₹₩])?\s*([+-]?)\s*")
_LONGEST_NUMBER = 400  # digits
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "万": 4, "亿": 8}
_SCALE = re.compile(rf"\s*({'|'.join(_SCALES)})s?(?![a-z])", re.IGNORECASE)

_UNITS = {
    "percent": "% percent pct percentage 百分比", "degree": "^\\circ degree deg 度", "radian": "radian rad",
    "dollar": "$ US$ USD dollar buck 美元", "cent": "cent ¢ penny pennies", "euro": "€ EUR euro 欧元",
    "pound sterling": "£ GBP", "yen": "yen 日元", "yuan": "yuan RMB 元", "rupee": "₹ Rs Rs. rupee", "won": "₩",
    "mm": "mm millimeter millimetre 毫米", "cm": "cm centimeter centimetre 厘米", "dm": "dm decimeter decimetre",
    "m": "m meter metre 米", "km": "km kilometer kilometre 千米 公里", "in": "inch inches", "ft": "ft foot feet 英尺",
    "yd": "yd yard", "mi": "mi mile 英里", "mg": "mg milligram", "g": "g gram 克", "kg": "kg kilogram kilo 千克 公斤",
    "t": "ton tonne", "lb": "lb lbs pound", "oz": "oz ounce", "ml": "ml milliliter millilitre 毫升",
    "l": "l L liter litre 升",
    "gal": "gal gallon", "qt": "quart", "pt": "pint", "ms": "ms millisecond", "s": "s sec second 秒",
    "min": "min minute 分钟", "h": "h hr hour 小时", "d": "day 天", "week": "week 周", "month": "month 个月",
    "year": "yr year 年", "mph": "mph", "kmh": "kmh kph", "hz": "Hz hertz",
}  # fmt: skip
_CANONICAL = {name: unit for unit, names in _UNITS.items() for name in names.split(" ")}
_SPACED_ONLY = frozenset({"m", "g", "l", "L", "s", "h"})
"""Units of one letter: `5 m` has a unit, `5m` is a product."""
_SILENT = frozenset({"celsius", "fahrenheit", "c", "f", "us", "u.s"})
_NO_UNITS = re.compile(
    r"\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?|(?:sun|mon|tues|wednes|thurs|fri|satur)day|[ap]\.?m\.?|o'?clock|noon|midnight|a\.d"
    r"|dozens?|half|halves|thirds?|fourths?|fifths?|tenths?|hundredths?|thousandths?|squared|cubed|plus|minus|than|over"
    r"|under|out|mod|modulo|base|remainder|and|or|not|to|sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|factorial|choose)\b",
    re.IGNORECASE,
)
_WORD = r"(?:[^\W\d_](?:[^\W\d_]|[.'-](?=[^\W\d_]))*\.?|[$%¢€£]|\^\\circ)"
_PHRASE = re.compile(
    rf"{_WORD}(?:\s*\^\s*\{{?[23]\}}?)?(?:(?:\s*/\s*|\s+|\s*\\cdot\s*){_WORD}(?:\s*\^\s*\{{?[23]\}}?)?)*"
)
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

_NUM = rf"[+-]?\$?{_DECIMAL}%?"
_LITERALS = re.compile(
    r"\d{1,2}(?::\d{2}){1,2}(?:\s*[ap]\.?m\.?)?"  # a time of day
    r"|\d{1,2}\s*(?:[ap]\.?m\.?|o'?clock)"
    rf"|{_DECIMAL}(?:\s*:\s*{_DECIMAL})+"  # a ratio
    r"|v?\d+(?:\.\d+){2,}|v\d+(?:\.\d+)*|version\s*\d+(?:\.\d+)*"
    r"|\d+(?:\s*/\s*\d+){2,}|\d+(?:\s*-\s*\d+){2,}"  # a date
    rf"|(?:from\s+)?{_NUM}\s*(?:-|to|~|\.\.+)\s*{_NUM}|between\s+{_NUM}\s+and\s+{_NUM}"  # a range
    r"|[0-9A-Fa-f]+\s*_\s*\{?\s*\w+\s*\}?",  # a number in a base
    re.IGNORECASE,
)
_SIDE_BY_SIDE = re.compile(r"[\d.]\s+[\d.]|^[+-]?\d+\s*\\frac\{\d+\}\{\d+\}$")
_DATE_WORD = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b", re.IGNORECASE)


class Quantity(NamedTuple):
    """An exact number and its unit: a canonical name, or empty where there is none or it is a thing (`18 apples`)."""

    value: Fraction
    unit: str = ""

    def same(self, other: "Quantity") -> bool:
        """Whether both are one number, and no unit contradicts: `$9` is `$9 a day` and is not `9 cents`."""
        (over, _, under), (other_over, _, other_under) = self.unit.partition("/"), other.unit.partition("/")
        contradicting = (over and other_over and over != other_over) or (under and other_under and under != other_under)
        return self.value == other.value and not contradicting


def quantity(text: str) -> Quantity | None:
    """Read a quantity.

    Args:
        text: An answer in the notation of `math_notation.plain`.

    Returns:
        The quantity, None where the text is anything else.
    """
    if len(text) > _LONGEST_NUMBER:
        return None
    prefix = _PREFIX.match(text)
    number = _NUMBER.match(text, prefix.end() if prefix else 0)
    if prefix is None or number is None or (prefix[1] and prefix[3]):
        return None
    value = _value(number)
    if value is None:
        return None
    rest = text[number.end() :]
    while scale := _SCALE.match(rest):
        value *= 10 ** _SCALES[scale[1].lower()]
        rest = rest[scale.end() :]
    unit = _unit(rest)
    if unit is None:
        return None
    negative = "-" in (prefix[1], prefix[3])
    currency = _CANONICAL.get(prefix[2] or "", "")
    return Quantity(-value if negative else value, currency + unit if unit.startswith("/") else unit or currency)


def _value(number: re.Match[str]) -> Fraction | None:
    found = {name.rstrip("2"): text.replace(" ", "") for name, text in number.groupdict().items() if text is not None}
    if "whole" in found:
        top, under = int(found["top"]), int(found["under"])
        return int(found["whole"]) + Fraction(top, under) if top < under else None
    if "over" in found:
        below = Fraction(found["below"])
        return Fraction(found["over"]) / below if below else None
    if "repeated" in found:
        whole, _, decimals = found["start"].partition(".")
        once = Fraction(int(found["repeated"]), 10 ** len(found["repeated"]) - 1) / 10 ** len(decimals)
        return Fraction(f"{whole or '0'}.{decimals or '0'}") + once
    if "factor" in found or "mantissa" in found:
        return Fraction(found.get("factor") or found["mantissa"]) * Fraction(10) ** int(
            found.get("power") or found["exponent"]
        )
    return Fraction(10) ** int(found["alone"]) if "alone" in found else Fraction(found["decimal"])


def _unit(rest: str) -> str | None:
    """The canonical unit in what follows a number; empty for none or for a thing, None where it is no unit."""
    bare = rest.strip()
    if not bare:
        return ""
    if _PHRASE.fullmatch(bare) is None or _NO_UNITS.search(bare):
        return None
    words = re.findall(rf"{_WORD}(?:\s*\^\s*\{{?[23]\}}?)?|/", bare)
    names = [_one_unit(word) for word in words]
    first = words[0].split("^")[0].strip() if words[0] != "^\\circ" else words[0]
    attached = rest[0] == bare[0]
    if not names[0]:
        if not _CJK.match(first) and (attached or len(first) < 3):
            return None
    elif attached and first in _SPACED_ONLY:
        return None
    return _joined(names) if all(names) else ""


def _one_unit(word: str) -> str:
    """The canonical name of one word of a unit, empty where the word is none."""
    if word in ("^\\circ", "/"):
        return _CANONICAL.get(word, "/")
    name, _, power = word.partition("^")
    name = name.strip().rstrip(".") if name.strip() != "Rs." else name
    if name.lower() in (*_SILENT, "per", "square", "sq", "cubic", "cu"):
        return {"per": "/", "sq": "square", "cu": "cubic"}.get(name.lower(), name.lower())
    unit = next(
        (_CANONICAL[form] for form in (name, name.lower(), name.lower().removesuffix("s")) if form in _CANONICAL), ""
    )
    return f"{unit}^{power.strip(' {}')}" if unit and power else unit


def _joined(names: list[str]) -> str:
    """One name for a unit of several words: `square cm` is `cm^2`."""
    unit = " ".join(name for name in names if name not in _SILENT)
    unit = re.sub(r"square (\w+)", r"\1^2", re.sub(r"cubic (\w+)", r"\1^3", unit)).replace(" / ", "/")
    return {"mph": "mi/h", "kmh": "km/h"}.get(unit, unit).replace("/ ", "/")


def literal(text: str) -> str | None:
    """What a text is compared by that looks like a number and is none; None where it is a number or no such text.

    Times of day, dates, versions, ratios, ranges, numbers in a base, numbers side by side.
    """
    text = " ".join(text.split())
    if quantity(text) is not None:
        return None
    dated = _DATE_WORD.search(text) and any(character.isdigit() for character in text)
    if _LITERALS.fullmatch(text) or dated or _SIDE_BY_SIDE.search(text):
        key = re.sub(r"^(?:between|from)\s+(.*)\s+(?:and|to)\s+", r"\1-", text.lower())
        key = re.sub(r"\s*(?:\bto\b|~|\.\.+)\s*", "-", key)
        key = re.sub(r"(?<![\d.:])0+(?=\d)", "", re.sub(r"([ap])\.?\s*m\b\.?", r"\1m", key))
        return re.sub(r"[{}]", "", re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", key))
    return None
