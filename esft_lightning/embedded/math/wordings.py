"""How word problems are told: kind of sentence → pool → templates, of which no two pools share one.

`{a}`, `{b}` are numbers, `{p}`, `{q}` persons, `{t}` things, `{h}` holders, `{c}`, `{d}` colors.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from esft_lightning.embedded.pools import Pool

__all__ = ["COLORS", "HOLDERS", "IDLE", "SENTENCES", "THINGS"]

THINGS = (
    "apples pens shells coins books cards stones cups eggs stamps nuts balls keys buttons pears beads marbles shirts "
    "plums tickets lamps ropes bricks candles ribbons spoons"
).split()
HOLDERS = "boxes bags jars baskets trays packs drawers crates".split()
COLORS = "red blue green white black yellow".split()

SENTENCES: dict[str, dict[Pool, tuple[str, ...]]] = {
    "have": {
        "pretraining": (
            "{p} has {a} {t}.",
            "There are {a} {t} in the house of {p}.",
            "{a} {t} belong to {p}.",
            "In the garden of {p} you see {a} {t}.",
            "Last week {p} bought {a} {t}.",
        ),
        "train": (
            "{p} starts with {a} {t}.",
            "This morning {p} had {a} {t}.",
            "A sack of {p} holds {a} {t}.",
            "{p} came home with {a} {t}.",
        ),
        "validation": ("{p} begins the day with {a} {t}.", "On Monday {p} counted {a} {t}."),
        "test": ("At first {p} owns {a} {t}.", "The shelf of {p} carries {a} {t}.", "{p} once collected {a} {t}."),
    },
    "hold": {
        "pretraining": (
            "{p} has {a} {h} with {b} {t} each.",
            "{p} looks at {a} {h}. Each has {b} {t} inside.",
            "There are {b} {t} in every one of the {a} {h} of {p}.",
        ),
        "train": (
            "{p} keeps {a} {h} with {b} {t} in each.",
            "In the room of {p} are {a} {h}, each with {b} {t}.",
            "{p} packs {a} {h} and puts {b} {t} into every one.",
        ),
        "validation": ("{p} bought {a} {h} of {b} {t} each.", "Every one of {a} {h} that {p} opens has {b} {t}."),
        "test": (
            "{p} fills {a} {h} with {b} {t} apiece.",
            "The {a} {h} of {p} hold {b} {t} each.",
            "{p} finds {a} {h}, and there are {b} {t} in each of them.",
        ),
    },
    "both": {
        "pretraining": ("{p} has {a} {c} {t} and {b} {d} {t}.", "{p} brings {a} {c} {t}, and {b} that are {d}."),
        "train": (
            "{p} counts {a} {c} and {b} {d} {t}.",
            "On the desk of {p} lie {a} {c} {t} and also {b} {d} {t}.",
            "{p} bought {a} {c} {t} and then {b} {d} ones.",
        ),
        "validation": ("Of the {t} of {p}, {a} are {c} and {b} are {d}.",),
        "test": ("{p} owns {a} {c} {t} and {b} {d} ones.", "There lie {a} {c} and {b} {d} {t} that {p} made."),
    },
    "add": {
        "pretraining": (
            "{p} gets {b} more.",
            "{p} finds {b} {t}.",
            "{q} gives {p} {b} more {t}.",
            "{p} buys {b} {t} more.",
            "Next {q} brings {b} further {t} to {p}.",
            "The day after, {p} makes {b} {t}.",
        ),
        "train": (
            "Then {q} gives {b} more {t} to {p}.",
            "Later {p} buys {b} new {t}.",
            "Then {p} gets {b} more from {q}.",
            "{p} wins {b} {t} in a game.",
            "Under the bed {p} finds {b} {t}.",
        ),
        "validation": ("Soon {p} earns {b} {t} from {q}.", "Another {b} {t} come by post to {p}."),
        "test": (
            "After that {p} finds {b} more {t}.",
            "{p} is given {b} {t} by {q}.",
            "In the shop {p} takes another {b} {t}.",
        ),
    },
    "sub": {
        "pretraining": (
            "{p} loses {b}.",
            "{p} gives away {b} {t}.",
            "{p} sells {b} of the {t}.",
            "{q} takes {b} of them.",
            "Next {p} hands {b} {t} to {q}.",
            "Sadly {b} of the {t} break.",
        ),
        "train": (
            "Then {p} gives {b} {t} to {q}.",
            "Later {p} sells {b} of them.",
            "On the way {p} loses {b} {t}.",
            "{q} takes {b} of the {t} away.",
            "A thief steals {b} {t} from {p}.",
        ),
        "validation": ("Soon {p} lends {q} {b} of the {t}.", "In the rain {b} {t} are spoiled."),
        "test": (
            "After that {p} sells {b} {t} to {q}.",
            "{q} gets {b} of the {t} from {p}.",
            "In the evening {b} of the {t} are missing.",
        ),
    },
    "mul": {
        "pretraining": (
            "The {t} grow to {b} times as many.",
            "Now there are {b} times as many {t}.",
            "Soon {p} has {b} times that number.",
        ),
        "train": (
            "By spring the {t} become {b} times as many.",
            "Then {p} makes the heap {b} times as big.",
            "A year later {p} has {b} times as many.",
        ),
        "validation": ("With luck {p} gets to {b} times as many {t}.",),
        "test": (
            "In the end the number of {t} is {b} times as large.",
            "{p} works hard and reaches {b} times as many.",
        ),
    },
    "div": {
        "pretraining": (
            "{p} shares them equally among {b} friends.",
            "{p} puts the {t} into {b} equal groups.",
            "At last the {t} are split into {b} equal heaps.",
        ),
        "train": (
            "Then {p} shares all {t} equally among {b} friends.",
            "{p} puts all of them into {b} equal groups.",
            "{p} lays the {t} out in {b} equal rows.",
        ),
        "validation": ("The {t} are packed into {b} equal parcels.",),
        "test": ("After that {p} splits the {t} equally among {b} people.", "{b} children get equal parts of the {t}."),
    },
    "more": {
        "pretraining": ("{q} has {b} more than {p}.", "{q} has {b} {t} more than {p} has."),
        "train": ("{q} has {b} {t} more than {p}.", "The heap of {q} is {b} {t} larger than that."),
        "validation": ("{q} counted {b} more than {p} did.",),
        "test": ("{q} owns {b} more {t} than {p} does.", "To reach {q}, {p} would need {b} {t} more."),
    },
    "fewer": {
        "pretraining": ("{q} has {b} fewer than {p}.", "{q} has {b} {t} less than {p} has."),
        "train": ("{q} has {b} {t} fewer than {p}.", "The heap of {q} is {b} {t} smaller than that."),
        "validation": ("{q} counted {b} fewer than {p} did.",),
        "test": ("{q} owns {b} fewer {t} than {p} does.", "To equal {q}, {p} would have to lose {b} {t}."),
    },
    "times": {
        "pretraining": ("{q} has {b} times as many as {p}.", "{q} has {b} times as many {t}."),
        "train": ("{q} has {b} times as many {t} as {p}.", "The heap of {q} is {b} times as large."),
        "validation": ("{q} counted {b} times as many.",),
        "test": ("{q} owns {b} times as many {t} as {p} does.", "For each one of these, {q} has {b} {t}."),
    },
    "cost": {
        "pretraining": ("{p} buys {a} {t} at {b} coins each.", "One of the {t} costs {b} coins. {p} takes {a}."),
        "train": (
            "{p} orders {a} {t}, and each costs {b} coins.",
            "At the fair {p} buys {a} {t} for {b} coins apiece.",
        ),
        "validation": ("{p} pays {b} coins for each of {a} {t}.",),
        "test": (
            "The price of {t} is {b} coins each, and {p} wants {a}.",
            "{p} chooses {a} {t} that cost {b} coins each.",
        ),
    },
    "pay": {
        "pretraining": ("{p} gives {a} coins.", "{p} had {a} coins."),
        "train": ("{p} pays with {a} coins.", "{p} had a purse of {a} coins."),
        "validation": ("{p} lays down {a} coins.",),
        "test": ("{p} hands over {a} coins.", "In the pocket of {p} were {a} coins."),
    },
    "ask": {
        "pretraining": (
            "How many {t} does {p} have now?",
            "How many {t} are there?",
            "So how many {t} is that?",
            "Count the {t} of {p}.",
        ),
        "train": ("How many {t} does {p} have in the end?", "What is the new number of {t}?"),
        "validation": ("What number of {t} does {p} end with?",),
        "test": ("How many {t} remain with {p}?", "How many {t} has {p} at last?"),
    },
    "ask_part": {
        "pretraining": ("How many {t} are in each part?", "How many {t} does a heap hold?"),
        "train": ("How many {t} does one of the parts have?", "How large is one part?"),
        "validation": ("What does each part come to?",),
        "test": ("How many {t} make one part?",),
    },
    "ask_both": {
        "pretraining": ("How many {t} do they have together?", "How many {t} is that for {p} and {q}?"),
        "train": ("How many {t} do {p} and {q} have in all?", "What is the number of {t} of both?"),
        "validation": ("What do both of them have in sum?",),
        "test": ("How many {t} do the two own together?", "Put together, how many {t} is that?"),
    },
    "ask_left": {
        "pretraining": ("How many coins are left?", "How many coins does {p} get back?"),
        "train": ("How many coins does {p} still have?", "How many coins come back to {p}?"),
        "validation": ("What change does {p} get?",),
        "test": ("How many coins remain with {p} after that?", "What is left of the coins?"),
    },
    "ask_cost": {
        "pretraining": ("What does all of it cost?", "How many coins is that together?"),
        "train": ("How many coins does {p} pay in all?", "What is the whole price?"),
        "validation": ("What sum does {p} owe?",),
        "test": ("How many coins are needed for everything?", "Put together, what is the price?"),
    },
}

IDLE: dict[Pool, tuple[str, ...]] = {
    "pretraining": ("It was {a} o'clock.", "{q} is {a} years old.", "The bus of {p} is number {a}."),
    "train": ("{q} lives at number {a}.", "It is day {a} of the month.", "The way home is {a} steps long."),
    "validation": ("{q} turned {a} last week.", "The clock of {p} is {a} minutes late."),
    "test": ("{q} reads page {a} of a book.", "The room of {p} is number {a}.", "{a} birds sit on the roof."),
}
"""Sentences whose number is of no use."""
