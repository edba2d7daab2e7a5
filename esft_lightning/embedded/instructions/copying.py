"""Copying: a line, a part of it, what somebody said, what stands beside a word.

Copy: Quanzin 412 road K3                                          -> Quanzin 412 road K3
Pelros said "lamp tamven 41". Ulyar said "salt". What did Ulyar say?  -> salt
… K3 road 9:40 … What comes after road?                            -> 9:40
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import copy_value, noun, several
from esft_lightning.embedded.pools import name, number

__all__ = ["copies", "parts", "sayings"]

_NOTHING = (
    "the a one in on by at for with near under over after before and or then so still only just very quite almost "
    "there here it was is had has came went stood lay saw gave took kept left"
).split()


def _line(rng: random.Random, length: int) -> list[str]:
    return [copy_value(rng) for _ in range(length)]


def copies(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: a whole line again, once or more often, in small changes of form."""
    order = rng.choice(
        ("Copy: {}", "Say it again: {}", "Repeat this line: {}", "Echo: {}", "{} Again:", "Read out: {}")
    )
    length, form = rng.choice((2, 4, 7, 10)), rng.choice(("{}", "{}", '"{}"', "{}.", "[{}]", "{0} {0}", "{0}\n{0}"))
    joint = rng.choice((" ", " ", ", ", "; "))
    if form != "{}":
        order += rng.choice((" Form: ", " As ")) + form.replace("{0}", "{}").replace("{}", "...")

    def draw(rng: random.Random) -> tuple[str, str]:
        line = joint.join(_line(rng, rng.randint(max(1, length - 1), length + 1)))
        return order.replace("{}", line), form.format(line)

    return draw


def parts(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: one part of a line or of a longer text, told by where it stands or by what it is."""
    task = rng.choice(("after", "before", "between", "number", "name", "rest"))
    order = rng.choice(
        {
            "after": ("What comes after {}?", "Which word follows {}?", "The word after {}:"),
            "before": ("What comes before {}?", "Which word stands before {}?"),
            "between": ("What stands between {} and {}?", "Copy what is between {} and {}."),
            "number": ("Which number is in the text?", "Copy the number.", "Find the number."),
            "name": ("Which name is in the text?", "Copy the name.", "Who is named?"),
            "rest": ("Copy everything after {}.", "What comes after {}, to the end?"),
        }[task]
    )
    length, first = rng.choice((8, 12, 20, 40)), rng.random() < 0.4

    def draw(rng: random.Random) -> tuple[str, str]:
        words = [rng.choice(_NOTHING) if rng.random() < 0.6 else noun(rng) for _ in range(length)]
        if task in ("number", "name"):
            value = str(number(rng, 100, 9999)) if task == "number" else name(rng)
            words.insert(rng.randint(1, length - 1), value)
            asked, answer = order, value
        else:
            size = {"between": rng.randint(1, 4), "rest": rng.randint(1, 6)}.get(task, 1)
            marks = several(lambda: name(rng), 2)
            place = length - size - 1 if task == "rest" else rng.randint(1, length - size - 2)
            piece = _line(rng, size)
            if task == "before":
                words[place : place + 2] = [*piece, marks[0]]
            else:
                words[place : place + size + 2] = [marks[0], *piece] + ([marks[1]] if task == "between" else [])
            asked, answer = order.format(*marks), " ".join(piece)
        text = " ".join(words)
        return (f"{asked}\n{text}" if first else f"{text}\n{asked}"), answer

    return draw


def sayings(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: what one of several persons said, or who said it."""
    who = rng.random() < 0.3
    form = rng.choice(('{} said "{}".', "{}: {}", 'From {}: "{}"', '"{1}", said {0}.', "{} wants {}."))
    order = rng.choice(
        ("Who said {}?", "Whose word is {}?") if who else ("What did {} say?", "The words of {}:", "{} said what?")
    )
    count, joint = rng.randint(2, 5), rng.choice((" ", "\n"))

    def draw(rng: random.Random) -> tuple[str, str]:
        people = several(lambda: name(rng), count)
        said = several(lambda: " ".join(_line(rng, rng.randint(1, 3))), count)
        text = joint.join(form.format(*pair) for pair in zip(people, said, strict=True))
        person, words = rng.choice(list(zip(people, said, strict=True)))
        return f"{text}\n{order.format(words if who else person)}", person if who else words

    return draw
