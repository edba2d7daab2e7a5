"""The wall between generated code and its tests: messages, and the values that pass as a copy.

Loaded by `isolated_checker.py` from its path, standard library only. Plain data passes, and values of the standard
library (`Counter`, `Decimal`, `date`, named tuples, exceptions, …), as JSON with tags. What cannot pass is lent
(`wall_sides.py`). This file knows values. It does not know which side it is on.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import importlib
import json
import os
import sys
import types

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any

READ_AT_ONCE = 1 << 16
LONGEST_MESSAGE = 1 << 20
# Words in strings: literal lists of these would fill pages
_TYPES = "int float str bool list tuple dict set frozenset bytes bytearray complex range"
_MODULES = (
    "math cmath random re string itertools functools operator collections copy json datetime decimal fractions "
    "statistics heapq bisect typing dataclasses enum time calendar textwrap unicodedata numbers"
)
COLLECTIONS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
TYPES = frozenset(_TYPES.split())
MODULES = frozenset(_MODULES.split())
"""Modules that the tests have where the code imports them: each side gets its own."""
DATES = frozenset({"date", "datetime", "time", "timedelta"})

if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)  # processor time is limited anyway


class CannotCarry(BaseException):
    """A value that cannot pass, or a question that the code is not asked. No test's `except Exception` hides it."""


def send(handle, message):
    """Write one message: eight digits of length, then JSON."""
    data = json.dumps(message).encode()
    if len(data) > LONGEST_MESSAGE:
        raise CannotCarry("a value is longer than 1 MiB and cannot pass between the code and its tests")
    data = b"%08d" % len(data) + data
    while data:
        data = data[os.write(handle, data) :]


def receive(handle):
    """Read one message; raises EOFError when the other side has gone. Reads not one byte beyond the message."""

    def exactly(count):
        parts = []
        while count:
            part = os.read(handle, min(count, READ_AT_ONCE))
            if not part:
                raise EOFError("the process ended")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    length = int(exactly(8))
    if length > LONGEST_MESSAGE * 8:
        raise ValueError("message too long")
    return json.loads(exactly(length))


def encode(value: Any, side: Any) -> Any:
    """Return a value as JSON-ready data: a scalar as it is, anything else as `[tag, content]`.

    Subclasses of plain types travel as their plain base, with their name for the reason of a failure; what is no data
    is lent by the side.
    """
    if value is None or value is True or value is False:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value) if type(value) is kind else side.flattened(type(value), kind(value))
    try:
        return _tagged(value, side)
    except RecursionError:
        raise CannotCarry(
            "a value that holds itself, or is nested too deeply, cannot pass between the code and its tests"
        ) from None


def _tagged(value: Any, side: Any) -> Any:
    def many(items):
        return [encode(item, side) for item in items]

    def pairs(items):
        return [many(pair) for pair in items]

    kind = type(value)
    if isinstance(value, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
        return ["named", [kind.__name__, list(kind._fields), many(value)]]
    for tag, plain in COLLECTIONS.items():
        if isinstance(value, plain):
            return [tag, many(value)] if kind is plain else side.flattened(kind, [tag, many(value)])
    if isinstance(value, dict):
        content = pairs(value.items())
        if kind in (dict, collections.Counter, collections.OrderedDict):
            return [kind.__name__, content]
        factory = getattr(value, "default_factory", None)
        if kind is collections.defaultdict and _is_plain_factory(factory):
            return ["defaultdict", [encode(factory, side), content]]
        return side.flattened(kind, ["dict", content])
    if isinstance(value, (bytes, bytearray)):
        return ["bytearray" if isinstance(value, bytearray) else "bytes", value.hex()]
    if isinstance(value, collections.deque):
        return ["deque", [many(value), value.maxlen]]
    if kind in VIEWS:
        return [kind.__name__, pairs(value) if kind is VIEWS[2] else many(value)]
    if isinstance(value, complex):
        return ["complex", [value.real, value.imag]]
    if isinstance(value, (range, slice)):
        return [kind.__name__, many((value.start, value.stop, value.step))]
    if value is NotImplemented or value is Ellipsis:
        return ["constant", repr(value)]
    if isinstance(value, types.TracebackType):
        return None  # nothing of the frames of one side is shown to the other
    if kind.__module__ in ("decimal", "fractions") and kind.__name__ in ("Decimal", "Fraction"):
        return [kind.__name__, str(value)]
    if kind.__module__ == "datetime" and kind.__name__ in DATES and getattr(value, "tzinfo", None) is None:
        return [
            "datetime",
            [kind.__name__, list(value.__reduce__()[1]) if kind.__name__ == "timedelta" else _fields(value)],
        ]
    if isinstance(value, type) and value.__module__ == "builtins" and value.__name__ in TYPES:
        return ["type", value.__name__]
    if isinstance(value, type) and issubclass(value, BaseException):
        return ["error type", error_names(value)]
    if isinstance(value, BaseException):
        return ["error", encode_error(value, side)]
    return side.lend(value)


def _is_plain_factory(factory):
    return factory is None or (
        isinstance(factory, type) and factory.__module__ == "builtins" and factory.__name__ in TYPES
    )


VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
DATE_FIELDS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


def _fields(value):
    return [getattr(value, field) for field in DATE_FIELDS if hasattr(value, field)]


def decode(data: Any, side: Any) -> Any:
    """Invert `encode`; raises ValueError on anything else."""
    if not isinstance(data, list):
        return data
    tag, content = data

    def many(items):
        return [decode(item, side) for item in items]

    if tag in COLLECTIONS:
        return COLLECTIONS[tag](many(content))
    if tag == "flat":
        side.flattened_names.add(str(content[0]))
        return decode(content[1], side)
    if tag == "defaultdict":
        factory = decode(content[0], side)
        if not _is_plain_factory(factory):
            raise ValueError("unknown factory")
        return collections.defaultdict(factory, {decode(key, side): decode(item, side) for key, item in content[1]})
    if tag == "named":
        name, fields, values = content
        return side.named_tuple(str(name), tuple(map(str, fields)))(*many(values))
    if tag in ("dict", "Counter", "OrderedDict", "dict_items"):
        plain = {decode(key, side): decode(item, side) for key, item in content}
        return plain.items() if tag == "dict_items" else plain if tag == "dict" else getattr(collections, tag)(plain)
    if tag == "dict_keys":
        return dict.fromkeys(many(content)).keys()
    if tag == "dict_values":
        return dict(enumerate(many(content))).values()
    if tag in ("bytes", "bytearray"):
        return getattr(builtins, tag).fromhex(content)
    if tag == "deque":
        return collections.deque(many(content[0]), content[1])
    if tag in ("complex", "range", "slice"):
        return getattr(builtins, tag)(*many(content))
    if tag == "constant":
        return {"NotImplemented": NotImplemented, "Ellipsis": Ellipsis}[content]
    if tag in ("Decimal", "Fraction"):
        return getattr(importlib.import_module("decimal" if tag == "Decimal" else "fractions"), tag)(content)
    if tag == "datetime" and content[0] in DATES:
        return getattr(importlib.import_module("datetime"), content[0])(*content[1])
    if tag == "type" and content in TYPES:
        return getattr(builtins, content)
    if tag == "error type":
        return side.error_class(content)
    if tag == "error":
        return decode_error(content, side)
    return side.borrow(tag, content)


def error_names(kind):
    """The names of an exception's class and of the classes under it, up to Exception."""
    return [base.__name__ for base in kind.__mro__ if base not in (object, BaseException)]


def encode_error(error, side):
    """An exception as data: classes, arguments, text and public attributes, each as far as it can pass."""

    def passing(value):
        try:
            return encode(value, side)
        except CannotCarry:
            return repr(value)[:200]

    attributes = {name: value for name, value in getattr(error, "__dict__", {}).items() if not name.startswith("_")}
    try:
        text = str(error)[:2000]
    except Exception:
        text = ""
    return {
        "names": error_names(type(error)),
        "args": [passing(value) for value in error.args],
        "text": text,
        "attributes": [[str(name), passing(value)] for name, value in attributes.items()],
    }


def decode_error(data, side):
    """Invert `encode_error`, by the side's own class of that name."""
    kind, args = side.error_class(data["names"]), [decode(value, side) for value in data["args"]]
    try:
        error = kind(*args)
    except Exception:  # a few, such as UnicodeDecodeError, need other arguments
        error = kind.__new__(kind)
        error.args = tuple(args)
    for name, value in data["attributes"]:
        if not str(name).startswith("_"):
            with contextlib.suppress(AttributeError):
                setattr(error, str(name), decode(value, side))
    if kind.__module__ == "wall":
        error.__dict__["_text"] = str(data["text"])
    return error
