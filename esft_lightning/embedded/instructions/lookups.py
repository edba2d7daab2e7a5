"""Lookups: a value asked of a list, a table or titled paragraphs that stand in the question.

Wesmer: 412, Holder: K3, quanfin: 9:40. Holder?                                -> K3
name | shelf | price / Wesmer | K3 | 41 / … The price of Wesmer?               -> 41
Pelros. The gate opens at 7:15 and … Tamven. The gate opens at 9:40 … When does the gate open in Tamven?  -> 9:40
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import code, copy_value, copy_word, noun, several
from esft_lightning.embedded.pools import name, number, person

__all__ = ["lists", "paragraphs", "tables"]

_FORMS = ("{}: {}", "{} = {}", "{} is {}", "{} -> {}", "{} has {}", "({}, {})", "{} {}", '"{}": "{}"')
_JOINTS = (", ", "; ", "\n", " | ", ". ")


def lists(rng: random.Random, shown: bool) -> Draw:
    """Pairs in a list; asked is a value, a name by its value, a new list of some, or whether a name is there."""
    form, joint = rng.choice(_FORMS), rng.choice(_JOINTS)
    keys = rng.choice((copy_word, name, noun, lambda rng: str(rng.randint(1, 99)), code))
    values = rng.choice((copy_value, name, code, noun, lambda rng: str(number(rng, 100, 9999))))
    task = rng.choice(("value", "value", "value", "name", "some", "after", "count"))
    wording = rng.choice(
        {
            "value": ("{}?", "What is {}?", "Give the value of {}.", "Look up {}.", "{} ->", "Find {} in the list."),
            "name": ("Which one has {}?", "Whose is {}?", "Find the name that goes with {}.", "What has {}?"),
            "some": ("Only {} and {}:", "Give the values of {} and {}.", "Look up {} and {}.", "{} and {}?"),
            "after": ("What comes after {}?", "Name the one that follows {}.", "After {} comes what?"),
            "count": ("How many are listed? And the last?", "Count them and name the last."),
        }[task]
    )
    question_first = rng.random() < 0.3
    size = rng.choice((3, 5, 8, 12))
    cue = rng.choice(("", "", "\nAnswer:", " Answer:", "\nA:"))

    def draw(rng: random.Random) -> tuple[str, str]:
        count = rng.randint(max(2, size - 2), size + 1)
        pairs = dict(zip(several(lambda: keys(rng), count), several(lambda: values(rng), count), strict=True))
        text = joint.join(form.format(key, value) for key, value in pairs.items())
        names = list(pairs)
        one, two = rng.sample(names, 2)
        if task == "value":
            asked, answer = wording.format(one), pairs[one]
        elif task == "name":
            asked, answer = wording.format(pairs[one]), one
        elif task == "some":
            asked, answer = wording.format(one, two), f"{pairs[one]}, {pairs[two]}"
        elif task == "after":
            place = rng.randrange(count - 1)
            asked, answer = wording.format(names[place]), names[place + 1]
        else:
            asked, answer = wording, f"{count}, {names[-1]}"
        return ("\n".join((asked, text)) if question_first else "\n".join((text, asked))) + cue, answer

    return draw


_COLUMNS: dict[str, Callable[[random.Random], str]] = {
    "shelf": code,
    "price": lambda rng: str(number(rng, 2, 999)),
    "town": name,
    "keeper": person,
    "hour": lambda rng: f"{rng.randint(1, 12)}:{rng.randrange(60):02d}",
    "thing": noun,
    "count": lambda rng: str(rng.randint(1, 99)),
    "sign": copy_word,
}


def tables(rng: random.Random, shown: bool) -> Draw:
    """A table with a name and two to four columns; asked is a cell, a row, or a row as JSON."""
    columns = rng.sample(list(_COLUMNS), rng.randint(2, 4))
    bar = rng.choice((" | ", ", ", "; ", "\t"))
    task = rng.choice(("cell", "cell", "row", "object", "where"))
    wording = rng.choice(
        {
            "cell": ("The {c} of {n}?", "What is the {c} of {n}?", "{n}: {c}?", "Look up the {c} of {n}."),
            "row": ("Everything about {n}:", "Give the row of {n}.", "Read out {n}."),
            "object": ("{n} as JSON:", "Give the row of {n} as JSON."),
            "where": ("Whose {c} is {v}?", "Who has the {c} {v}?", "Find the name with {c} {v}."),
        }[task]
    )
    head = rng.random() < 0.8

    def draw(rng: random.Random) -> tuple[str, str]:
        count = rng.randint(2, 6)
        rows = {key: [_COLUMNS[column](rng) for column in columns] for key in several(lambda: name(rng), count)}
        lines = [bar.join(("name", *columns))] if head else [f"Columns: name, {', '.join(columns)}"]
        lines += [bar.join((key, *cells)) for key, cells in rows.items()]
        key, column = rng.choice(list(rows)), rng.randrange(len(columns))
        cells = rows[key]
        if task == "where":  # of equal cells the first row would be as right as the one meant
            key = next(other for other, row in rows.items() if row[column] == cells[column])
            cells = rows[key]
        asked = wording.format(c=columns[column], n=key, v=cells[column])
        answer = {
            "cell": cells[column],
            "row": bar.join(cells),
            "object": json.dumps({"name": key, **dict(zip(columns, cells, strict=True))}),
            "where": key,
        }[task]
        return "\n".join([*lines, asked]), answer

    return draw


# what is told of a place → (how paragraphs tell it, how questions ask for it)
_TOLD: dict[str, tuple[Callable[[random.Random], str], tuple[str, ...], tuple[str, ...]]] = {
    "opening": (
        _COLUMNS["hour"],
        ("The gate opens at {}.", "It is open from {} on.", "Nobody gets in before {}."),
        ("When does {} open?", "From when on is {} open?"),
    ),
    "keeper": (
        person,
        ("{} keeps the keys.", "Ask {} for the keys.", "The keys are with {}."),
        ("Who has the keys of {}?", "Whom do you ask for the keys of {}?"),
    ),
    "fee": (
        lambda rng: str(number(rng, 100, 9999)),
        ("A visit costs {} coins.", "The fee is {}.", "Guests pay {}."),
        ("What does a visit to {} cost?", "What is the fee of {}?"),
    ),
    "founder": (
        person,
        ("{} built it.", "It goes back to {}.", "It was founded by {}."),
        ("Who built {}?", "Who founded {}?"),
    ),
    "size": (
        lambda rng: str(number(rng, 10, 999)),
        ("It has {} rooms.", "There are {} rooms inside.", "You can count {} rooms."),
        ("How many rooms has {}?", "How many rooms are there in {}?"),
    ),
    "way": (
        name,
        ("The road from {} leads there.", "You come from {}.", "It lies beyond {}."),
        ("Which road leads to {}?", "From where do you come to {}?"),
    ),
    "store": (
        noun,
        ("Inside there is nothing but one {}.", "People go there to see the {}.", "It is famous for a {}."),
        ("What is {} famous for?", "What do people go to see in {}?"),
    ),
}
_TITLES = ("{}.", "{}:", "== {} ==", "On {}.", "About {}:", "[{}]")


def paragraphs(rng: random.Random, shown: bool) -> Draw:
    """Titled paragraphs that tell alike things of different places; asked is one of them, in other words."""
    topics = rng.sample(list(_TOLD), rng.randint(2, 4))
    title, most = rng.choice(_TITLES), rng.choice((2, 3, 4, 5))
    order = rng.choice(("{q}", "{q} Answer from the text.", "Question: {q}\nAnswer:", "{q} In a few words."))
    both = rng.random() < 0.2

    def draw(rng: random.Random) -> tuple[str, str]:
        places = several(lambda: name(rng), rng.randint(2, most))
        told = {place: {topic: _TOLD[topic][0](rng) for topic in topics} for place in places}
        blocks = []
        for place, facts in told.items():
            sentences = [rng.choice(_TOLD[topic][1]).format(value) for topic, value in facts.items()]
            rng.shuffle(sentences)
            blocks.append(f"{title.format(place)} {' '.join(sentences)}")
        place, topic = rng.choice(places), rng.choice(topics)
        asked, answer = rng.choice(_TOLD[topic][2]).format(place), told[place][topic]
        if both:
            other = rng.choice(places)
            asked += f" {rng.choice(_TOLD[topic][2]).format(other)}"
            answer = f"{answer}, {told[other][topic]}"
        return "\n".join([*blocks, order.format(q=asked)]), answer

    return draw
