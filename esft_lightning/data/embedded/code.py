"""Code: a short specification, answered by a short Python function (an enhancement task, like HumanEval and MBPP).

One row::

    user:      Complete the task in Python. Name: total. Argument: xs, a list of integers. Result: the sum of all
               numbers in xs that are greater than 5, each times 3.
    assistant: def total(xs):
                   return sum(x * 3 for x in xs if x > 5)
    extras:    {"tests": ["assert total([4, 5, 6]) == 18", …], "entry_point": "total"}

Scored by running the function against its tests (`esft_lightning.metrics.code`).

Train and test are split by layout of the specification (`LAYOUTS`), by function and argument names (`NAMES`,
`ARGUMENTS`), by constants (`in_test_constants`: every third integer is kept for test) and by letters (`LETTERS`), so
no prompt can be in both. Pretraining (`chats`) sees specifications of ONE operation in layouts of its own; train and
test compose two or three in most rows (`SINGLE_SHARE` have one). `documents` is small functions with docstrings,
doctest sessions and short scripts.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from esft_lightning.data.embedded.rows import Example, distinct, evaluation_row, training_row, word_pools

LAYOUTS = {
    "chats": (
        "Write a Python function {name}({arg}) that returns {what}.",
        "Write {name}({arg}): it returns {what}.",
    ),
    "train": (
        "Complete the task in Python. Name: {name}. Argument: {arg}, {kind}. Result: {what}.",
        "Define the Python function {name} of {arg} ({kind}). It should return {what}.",
        "Given {arg}, {kind}, return {what}. Call the Python function {name}.",
    ),
    "test": (
        "Implement {name}({arg}) in Python. Here {arg} is {kind}, and the function returns {what}.",
        "I need a Python function {name} that takes {kind} called {arg} and returns {what}.",
    ),
}
NAMES = word_pools(
    "f run total pick solve compute apply build convert select result work make calc step_one process",
    "g answer find change collect output",
)
ARGUMENTS = {
    "list": word_pools("xs items values seq", "nums data numbers"),
    "number": word_pools("n x a value", "k num m"),
    "text": word_pools("s text word", "line name_text string"),
}
KINDS = {"list": "a list of integers", "number": "an integer", "text": "a string"}
LETTERS = word_pools("a e o r s l t n d", "i u c m p")


SINGLE_SHARE = 0.35
"""Share of one-operation rows in train and test: what a model that was only pretrained is partly able to do."""


class Piece(NamedTuple):
    """A phrase of the specification with the Python that it means (`{}` stands for the value worked on)."""

    words: str
    python: str


def in_test_constants(constant: int) -> bool:
    """Tell whether an integer constant belongs to test specifications."""
    return constant % 3 == 1


def constants(split: str, low: int, high: int) -> list[int]:
    """Return the constants in `low..high` that a split may use; pretraining (`chats`) uses them all."""
    span = range(low, high + 1)
    return [c for c in span if split == "chats" or in_test_constants(c) == (split == "test")]


def _words(pool: dict[str, list[str]], split: str) -> list[str]:
    """The words of a split; pretraining (`chats`) knows them all."""
    return [*pool["train"], *pool["test"]] if split == "chats" else pool[split]


def _change(rng: random.Random, split: str) -> Piece:
    """An operation on one number; its Python binds like a product or is in brackets where `{}` is changed again."""
    c = rng.choice(constants(split, 2, 20))
    return rng.choice(
        (
            Piece(f"plus {c}", f"{{}} + {c}"),
            Piece(f"minus {c}", f"{{}} - {c}"),
            Piece(f"times {c}", f"{{}} * {c}"),
            Piece(f"modulo {c}", f"{{}} % {c}"),
            Piece(f"divided by {c} without remainder", f"{{}} // {c}"),
        )
    )


def _condition(rng: random.Random, split: str) -> Piece:
    c = rng.choice(constants(split, 0, 12))
    return rng.choice(
        (
            Piece(f"greater than {c}", f"{{}} > {c}"),
            Piece(f"less than {c}", f"{{}} < {c}"),
            Piece(f"at least {c}", f"{{}} >= {c}"),
            Piece(f"at most {c}", f"{{}} <= {c}"),
            Piece(f"not equal to {c}", f"{{}} != {c}"),
            Piece("even", "{} % 2 == 0"),
            Piece("odd", "{} % 2 == 1"),
        )
    )


def _text_change(rng: random.Random, split: str) -> Piece:
    """A string operation; its Python can be followed by another one."""
    old, new = rng.sample(_words(LETTERS, split), 2)
    c = rng.choice(constants(split, 2, 9))
    return rng.choice(
        (
            Piece("in upper case", "{}.upper()"),
            Piece("in lower case", "{}.lower()"),
            Piece("reversed", "{}[::-1]"),
            Piece(f"with '{old}' replaced by '{new}'", f"{{}}.replace('{old}', '{new}')"),
            Piece("without spaces at the ends", "{}.strip()"),
            Piece(f"cut to the first {c} characters", f"{{}}[:{c}]"),
            Piece(f"without the first {c} characters", f"{{}}[{c}:]"),
        )
    )


def _two_different(draw: Callable[[random.Random, str], Piece], rng: random.Random, split: str) -> tuple[Piece, Piece]:
    first = draw(rng, split)
    while (second := draw(rng, split)) == first:
        pass
    return first, second


class Specification(NamedTuple):
    """What a function takes (`kind`), what it returns in words, and the expression that returns it."""

    kind: str
    what: str
    expression: str


def _single(rng: random.Random, split: str, arg: Callable[[str], str]) -> Specification:
    """One operation: what pretraining knows."""
    family = rng.randrange(8)
    if family == 0:
        n, change = arg("number"), _change(rng, split)
        return Specification("number", f"{n} {change.words}", change.python.format(n))
    if family == 1:
        n, test = arg("number"), _condition(rng, split)
        return Specification("number", f"whether {n} is {test.words}", test.python.format(n))
    if family == 2:
        xs, change = arg("list"), _change(rng, split)
        what = f"a list of all numbers in {xs}, each {change.words}"
        return Specification("list", what, f"[{change.python.format('x')} for x in {xs}]")
    if family == 3:
        xs, test = arg("list"), _condition(rng, split)
        what = f"a list of all numbers in {xs} that are {test.words}"
        return Specification("list", what, f"[x for x in {xs} if {test.python.format('x')}]")
    if family == 4:
        xs = arg("list")
        what, expression = rng.choice(
            (
                ("the sum of all numbers in {}", "sum({})"),
                ("the count of all numbers in {}", "len({})"),
                ("{} in rising order", "sorted({})"),
                ("{} in falling order", "sorted({}, reverse=True)"),
                ("{} in reverse", "{}[::-1]"),
                ("the set of all numbers in {}", "set({})"),
            )
        )
        return Specification("list", what.format(xs), expression.format(xs))
    if family == 5:
        xs, c = arg("list"), rng.choice(constants(split, 1, 9))
        side = rng.choice((("first", f":{c}"), ("last", f"-{c}:")))
        return Specification("list", f"the {side[0]} {c} of {xs}", f"{xs}[{side[1]}]")
    if family == 6:
        s, c = arg("text"), rng.choice(_words(LETTERS, split))
        return Specification("text", f"how often '{c}' is in {s}", f"{s}.count('{c}')")
    s, change = arg("text"), _text_change(rng, split)
    return Specification("text", f"{s} {change.words}", change.python.format(s))


def _composed(rng: random.Random, split: str, arg: Callable[[str], str]) -> Specification:
    """Two or three operations: what training and test ask for."""
    family = rng.randrange(8)
    if family == 0:
        n = arg("number")
        first, second = _two_different(_change, rng, split)
        what = f"{n} {first.words}, then {second.words}"
        return Specification("number", what, second.python.format(f"({first.python.format(n)})"))
    if family == 1:
        n, test = arg("number"), _condition(rng, split)
        change, other = _two_different(_change, rng, split)
        what = f"{n} {change.words} if {n} is {test.words}, else {n} {other.words}"
        return Specification(
            "number", what, f"{change.python.format(n)} if {test.python.format(n)} else {other.python.format(n)}"
        )
    if family in (2, 3, 4):
        xs, test, change = arg("list"), _condition(rng, split), _change(rng, split)
        each = f"{change.python.format('x')} for x in {xs} if {test.python.format('x')}"
        what = f"all numbers in {xs} that are {test.words}, each {change.words}"
        if family == 2:
            return Specification("list", f"a list of {what}", f"[{each}]")
        if family == 3:
            return Specification("list", f"the sum of {what}", f"sum({each})")
        return Specification("list", f"the set of {what}", f"{{{each}}}")
    if family == 5:
        xs, test = arg("list"), _condition(rng, split)
        what = f"the count of all numbers in {xs} that are {test.words}"
        return Specification("list", what, f"len([x for x in {xs} if {test.python.format('x')}])")
    if family == 6:
        xs, test, c = arg("list"), _condition(rng, split), rng.choice(constants(split, 1, 9))
        side = rng.choice((("first", f":{c}"), ("last", f"-{c}:")))
        what = f"a list of all numbers in the {side[0]} {c} of {xs} that are {test.words}"
        return Specification("list", what, f"[x for x in {xs}[{side[1]}] if {test.python.format('x')}]")
    s = arg("text")
    first, second = _two_different(_text_change, rng, split)
    what = f"{s} {first.words}, then {second.words}"
    return Specification("text", what, second.python.format(first.python.format(s)))


NUMBER_INPUTS = [
    -144,
    -97,
    -61,
    -38,
    -19,
    -5,
    -2,
    -1,
    *range(15),
    17,
    19,
    20,
    22,
    25,
    31,
    40,
    57,
    76,
    97,
    133,
    190,
    399,
]
LIST_INPUTS: list[list[int]] = [
    [],
    list(range(-3, 22)),
    list(range(23, -3, -1)),
    *([*range(start, 14), *range(start)] for start in range(14)),  # each small number once first and once last
]
TEXT_INPUTS = ["", "  radio MUSIC ", "apple tree and lemon pie", "CURIOUS clouds on Sunday", "aeioumnprstdlc"]


def _inputs(kind: str, rng: random.Random) -> list[Any]:
    """Arguments on which wrong constants and wrong comparisons show: whole ranges, and lists of larger numbers."""
    if kind == "number":
        return NUMBER_INPUTS
    if kind == "text":
        return TEXT_INPUTS
    return [*LIST_INPUTS, *(rng.sample(range(-99, 200), 12) for _ in range(3)), [2, 7, 2, 7, 11, 0, 5, 5]]


def _calls(name: str, code: str, inputs: Sequence[Any]) -> list[tuple[str, str]]:
    """Calls of the reference function and its results, as Python text; `code` is always filled from this file."""
    scope: dict[str, Any] = {}
    exec(code, scope)
    return [(f"{name}({value!r})", repr(scope[name](value))) for value in inputs]


def _tests(name: str, code: str, kind: str, seed: str) -> list[str]:
    """Assert lines that hold the reference's own results; none for a function that ignores what it is given."""
    calls = _calls(name, code, _inputs(kind, random.Random(seed)))
    return [f"assert {call} == {result}" for call, result in calls] if len({result for _, result in calls}) > 1 else []


def _example(rng: random.Random, split: str, with_tests: bool) -> Example:
    chosen: list[str] = []

    def arg(kind: str) -> str:
        chosen.append(rng.choice(_words(ARGUMENTS[kind], split)))
        return chosen[-1]

    single = split == "chats" or rng.random() < SINGLE_SHARE
    spec = (_single if single else _composed)(rng, split, arg)
    name = rng.choice(_words(NAMES, split))
    layout = rng.choice(LAYOUTS[split])
    user = layout.format(name=name, arg=chosen[0], kind=KINDS[spec.kind], what=spec.what)
    code = f"def {name}({chosen[0]}):\n    return {spec.expression}"
    if not with_tests:
        return Example(user, code)
    tests = _tests(name, code, spec.kind, seed=user)
    return Example(user, code, {"tests": tests, "entry_point": name}) if tests else _example(rng, split, with_tests)


def train_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` distinct training rows, most of composed operations (see `rows.training_row`)."""
    drawn = distinct(lambda rng: _example(rng, "train", with_tests=False), count, f"code-train-{seed}")
    return [training_row(example) for example in drawn]


def test_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` distinct evaluation rows; each also has `tests` (assert lines) and `entry_point`."""
    drawn = distinct(lambda rng: _example(rng, "test", with_tests=True), count, f"code-test-{seed}")
    return [evaluation_row(example) for example in drawn]


def chats(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield endless (user, assistant) pairs for pretraining: specifications of one operation."""
    while True:
        example = _example(rng, "chats", with_tests=False)
        yield example.user, example.answer


def _short_input(kind: str, rng: random.Random) -> Any:
    if kind == "number":
        return rng.randint(-5, 40)
    if kind == "list":
        return [rng.randint(-5, 20) for _ in range(rng.randint(2, 6))]
    return rng.choice(TEXT_INPUTS)


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts: functions with docstrings, doctest sessions, scripts, functions with tests."""
    while True:
        chosen: list[str] = []

        def arg(kind: str, chosen: list[str] = chosen) -> str:
            chosen.append(rng.choice(_words(ARGUMENTS[kind], "chats")))
            return chosen[-1]

        spec = _single(rng, "chats", arg) if rng.random() < 0.75 else _composed(rng, "train", arg)
        name = rng.choice(_words(NAMES, "chats"))
        head, tail = f"def {name}({chosen[0]}):", f"    return {spec.expression}"
        inputs = [_short_input(spec.kind, rng) for _ in range(rng.randint(1, 3))]
        calls = _calls(name, f"{head}\n{tail}", inputs)
        form = rng.randrange(4)
        if form == 0:
            yield f'{head}\n    """Return {spec.what}."""\n{tail}\n'
        elif form == 1:
            session = (f">>> {call}\n{result}\n" for call, result in calls)
            yield f"{head}\n{tail}\n\n{''.join(session)}"
        elif form == 2:
            yield f"# {spec.what}\n{chosen[0]} = {inputs[0]!r}\nprint({spec.expression})\n"
        else:
            tests = (f"assert {call} == {result}\n" for call, result in calls)
            yield f"{head}\n{tail}\n\n{''.join(tests)}"
