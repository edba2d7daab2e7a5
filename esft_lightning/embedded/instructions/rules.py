"""House rules: what somebody did, told in other words than the rule has; which rule is it, and what does it cost?

    Rules of the Quanzin library. K3. Running: 140, at night 300. B7. Bringing food inside: 95, for children 20.
    Late at night Wesmer raced down the stairs. Which rule, which fee?
    Rule K3, fee 300.

Also prices with conditions, and things to be sorted into named bins by what they are.
"""

from __future__ import annotations

import random

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import CLASSES, code, several
from esft_lightning.embedded.pools import name, number, word

__all__ = ["house_rules", "prices", "sorting"]

DEEDS: dict[str, tuple[str, ...]] = {
    "bringing food inside": ("ate a sandwich between the shelves", "came in with a bowl of soup", "unpacked a pie"),
    "running": ("raced down the stairs", "sprinted through the hall", "ran to the exit"),
    "making noise": ("shouted to a friend", "played a drum", "sang at full voice"),
    "returning things late": ("brought the book back two weeks late", "kept the key a month too long"),
    "feeding the ducks": ("threw bread into the pond", "gave crumbs to the birds on the water"),
    "lighting a fire": ("burned some branches", "struck a match under a pile of sticks", "made a small campfire"),
    "picking flowers": ("cut a bunch of roses", "took tulips from the bed", "went home with a handful of daisies"),
    "leaving litter": ("dropped an empty can", "left paper bags on the bench", "threw a wrapper away"),
    "parking on the grass": ("left a cart on the lawn", "put the wagon on the green", "stopped a truck on the meadow"),
    "walking dogs without a leash": ("let a hound run free", "came with a puppy on no line"),
    "climbing the fence": ("got over the railing", "jumped across the bars", "scaled the iron fence"),
    "touching the paintings": ("put a hand on a portrait", "stroked a picture", "laid a finger on the canvas"),
    "swimming": ("bathed in the pool", "swam a few rounds", "took a dip in the lake"),
    "sleeping on benches": ("took a nap on a seat", "dozed on the bench", "slept outside on a bench"),
    "using a lamp": ("lit a lantern", "switched on a torch", "read by a bright light"),
    "moving furniture": ("pushed the table to the wall", "carried a chair outside", "turned the shelf around"),
}
"""What a rule forbids → how a story tells it."""

_PLACES = ("library", "park", "pool", "museum", "hall", "garden", "station", "inn")
# condition of a rule → how a story says that it holds, and that it does not
_CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "at night": (("Late at night", "After midnight", "In the dark"), ("At noon", "In the morning", "After lunch")),
    "for children": (("As a child of nine", "Being a little boy"), ("As a grown man", "Being an old woman")),
    "the second time": (("Once again", "As the week before"), ("For the first time", "As never before")),
    "in winter": (("In January", "While it snowed"), ("In July", "On a hot day")),
}


def house_rules(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: which rule somebody broke, and what it costs as things were."""
    count, place = rng.randint(2, 4), rng.choice(_PLACES)
    form = rng.choice(("Rule {c}, fee {f}.", "{c}: {f}", '{{"rule": "{c}", "fee": {f}}}', "{f} ({c})", "{c} / {f}"))
    order = rng.choice(
        ("Which rule, which fee?", "Name the rule and the fee.", "What is to be paid, and by which rule?")
    )
    if not shown or rng.random() < 0.4:
        order += f" Form: {form.format(c='rule', f='fee')}"
    layout = rng.choice(("{c}. {t}: {f}, {s} {g}.", "Rule {c}. {t} costs {f}; {s} {g}.", "{c} {t}. Fee {f} ({s} {g})."))
    line = rng.choice(("\n", " "))

    def draw(rng: random.Random) -> tuple[str, str]:
        deeds = rng.sample(list(DEEDS), count)
        names = several(lambda: code(rng), count)
        rules = []
        for deed, mark in zip(deeds, names, strict=True):
            case = rng.choice(list(_CASES))
            rules.append((mark, deed, number(rng, 20, 999), case, number(rng, 20, 999)))
        listed = [layout.format(c=c, t=t.capitalize(), f=f, s=s, g=g) for c, t, f, s, g in rules]
        mark, deed, fee, case, other_fee = rng.choice(rules)
        holds = rng.random() < 0.5
        opening = rng.choice(_CASES[case][0 if holds else 1])
        story = f"{opening} {name(rng)} {rng.choice(DEEDS[deed])}."
        head = f"Rules of the {name(rng)} {place}."
        question = line.join([head, *listed, story, order])
        return question, form.format(c=mark, f=other_fee if holds else fee)

    return draw


def prices(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: what somebody pays where the price depends on one thing."""
    groups = rng.choice(
        (
            ("children", "adults", "elders"),
            ("members", "guests", "staff"),
            ("boats", "rafts", "canoes"),
            ("letters", "parcels", "crates"),
            ("by day", "at dusk", "at night"),
        )
    )
    form = rng.choice(("{}: {}", "{} {}", "{} pay {}", "{} = {}"))
    asked = rng.choice(("{n}, {g}:", "{n} is here: {g}. Price?", "What is due from {n} ({g})?", "Price for {n}, {g}?"))
    rest = rng.random() < 0.4

    def draw(rng: random.Random) -> tuple[str, str]:
        amounts = dict(zip(groups, several(lambda: str(number(rng, 10, 999)), len(groups)), strict=True))
        listed = list(amounts.items())
        rng.shuffle(listed)
        if rest:
            listed[-1] = ("all others", listed[-1][1])
        group = rng.choice(groups)
        text = ", ".join(form.format(*pair) for pair in listed)
        return f"{text}.\n{asked.format(n=name(rng), g=group)}", amounts[group]

    return draw


def sorting(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: in which bin things belong, the bins told by what they hold, or by examples alone."""
    labels = rng.sample(list(CLASSES), rng.randint(2, 4))
    bins = dict(zip(labels, several(lambda: code(rng) if rng.random() < 0.5 else word(rng), len(labels)), strict=True))
    fresh = not shown or rng.random() < 0.5
    many = rng.choice((1, 1, 2, 3))
    order = rng.choice(("{}: which bin?", "Where does it go: {}", "{} ->", "Sort: {}", "Bin for {}?"))

    def draw(rng: random.Random) -> tuple[str, str]:
        used = bins
        if fresh:
            made = several(lambda: code(rng) if rng.random() < 0.5 else word(rng), len(labels))
            used = dict(zip(labels, made, strict=True))
        things = [(label, rng.choice(CLASSES[label])) for label in (rng.choice(labels) for _ in range(many))]
        listed = list(used.items())
        rng.shuffle(listed)
        head = ", ".join(f"{label} = {mark}" for label, mark in listed) + ".\n" if fresh else ""
        asked = order.format(", ".join(thing for _, thing in things))
        return head + asked, ", ".join(used[label] for label, _ in things)

    return draw
