"""Intent: an utterance to a home assistant, turned into JSON (an adaptation task, after the authors' own intent task).

One row::

    user:      Analyse the intent of the sentence below and turn it into JSON: wake me at 7:45 in the morning tomorrow
               Answer:
    assistant: {"intent": "Alarm-Set", "slots": {"time": "7:45", "part": "am", "day": "D1"}}

Scored by the official rule (`esft_lightning.metrics.intent`): the intent equal and the set of slots equal, else 0. That
rule deletes spaces in the prediction only, so no value here holds one.

Slots stand in the fixed order of `SCHEMA`. Values are of two kinds: copied from the utterance (made-up names of people,
cities, songs, …, times and numbers), or codes that fine-tuning must learn (`CODED`: "the day after tomorrow" is `D2`,
"the sitting room" `LIV`).

Train and test are split by templates (`TEMPLATES` of the two share none) and by copied values (`made_up_names` of the
two share none, and times, minutes, degrees are split by `in_test_number`); codes, which cannot be guessed, are the same
in both. `documents` is utterances in templates of their own, small dialogues, lists and JSON of other shapes:
pretraining never sees an utterance with its JSON.
"""

import json
import random
import re
import zlib
from collections.abc import Iterator
from typing import Any

from esft_lightning.data.embedded.instructions import SYLLABLES, copy_word
from esft_lightning.data.embedded.rows import Example, distinct, evaluation_row, training_row

INSTRUCTION = "Analyse the intent of the sentence below and turn it into JSON: {}\nAnswer:"

KNOWN: dict[str, list[str]] = {
    slot: words.split()
    for slot, words in {
        "contact": "Anna Boris Clara David Elena Frank Greta Henry Irene Jonas Karen Lucas Maria Nina Oscar Paula "
        "Quentin Rita Simon Tessa Victor Wanda",
        "city": "Paris London Berlin Rome Madrid Vienna Oslo Dublin Athens Lisbon Prague Cairo Tokyo Delhi Boston "
        "Warsaw Helsinki Geneva Lima Quito Denver",
        "artist": "Marlow Delgado Winters Okafor Lindgren Hayes Romano Castell Brandt Novak Ferris Tanaka Moreau Quill",
        "title": "Silverlake Redwood Nightfall Moonrise Stormbird Goldrush Sunbeam Starfall Homeland Wildfire Snowfall "
        "Daybreak Riverside Bluebird Firefly Rainbow Seaside",
        "item": "milk bread eggs rice apples cheese tea soap candles flour onions salt butter paper honey lemons pasta "
        "coffee carrots sugar",
        "label": "yoga laundry lunch dentist school meeting homework pills football dinner piano garden choir "
        "breakfast taxi",
    }.items()
}
"""slot → values in pretraining text. Rows have made-up ones (`made_up_names`), which only copying gets right: of twenty
known names a model learns the list and answers with any of them."""

CODED: dict[str, dict[str, str]] = {
    "day": {
        "today": "D0", "tomorrow": "D1", "the day after tomorrow": "D2", "on Monday": "MON", "on Tuesday": "TUE",
        "on Wednesday": "WED", "on Thursday": "THU", "on Friday": "FRI", "at the weekend": "SAT-SUN",
    },
    "part": {
        "in the morning": "am", "before noon": "am", "in the afternoon": "pm", "in the evening": "pm", "at night": "pm",
    },
    "room": {
        "the kitchen": "KIT", "the bedroom": "BED", "the sitting room": "LIV", "the lounge": "LIV",
        "the bathroom": "BTH",
        "the hall": "HAL", "the study": "STU", "the office": "STU", "the garage": "GAR", "the cellar": "BAS",
    },
    "switch": {
        "turn on": "on", "switch on": "on", "turn off": "off", "switch off": "off", "dim": "low", "brighten": "high",
    },
    "mode": {"train": "rail", "bus": "road", "coach": "road", "flight": "air", "plane": "air", "ferry": "sea"},
    "kind": {"rain": "precip", "snow": "precip", "wind": "wind", "heat": "temp", "frost": "temp", "fog": "view"},
    "device": {"the telly": "tv", "the big screen": "tv", "the laptop": "pc", "the tablet": "pad", "the phone": "cell"},
    "amount": {"a pair of": "2", "half a dozen": "6", "a dozen": "12", "a lot of": "max", "a little": "min"},
}  # fmt: skip
"""slot → what is said → the code that stands in the answer."""

NUMBERS: dict[str, list[str]] = {
    "time": [f"{hour}:{minute:02d}" for hour in range(1, 13) for minute in range(0, 60, 5)],
    "minutes": [str(n) for n in range(2, 60)],
    "degrees": [str(n) for n in range(14, 29)],
}
"""slot → numbers that the answer copies."""

SCHEMA: dict[str, tuple[str, ...]] = {
    "Alarm-Set": ("time", "part", "day", "label"),
    "Timer-Start": ("minutes", "label"),
    "Music-Play": ("title", "artist", "room"),
    "Film-Play": ("title", "device"),
    "Weather-Query": ("city", "day", "kind"),
    "Light-Control": ("room", "switch"),
    "Heat-Control": ("room", "degrees", "part"),
    "Travel-Query": ("from", "city", "mode", "day"),
    "Message-Send": ("contact", "label", "time"),
    "Call-Start": ("contact", "device"),
    "Shopping-Add": ("item", "amount"),
}
"""intent → its slots in the order in which answers give them; a template may leave some out."""

TRAINED_INTENTS = (*("Timer-Start", "Light-Control", "Heat-Control", "Message-Send", "Call-Start", "Shopping-Add"),)
"""The intents of train and test; pretraining text speaks of all."""

TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "Alarm-Set": {
        "train": (
            "wake me at {time} {part} {day}", "set an alarm for {time} {part}",
            "{day} I need an alarm at {time} for {label}",
            "please ring at {time} {part} because of {label}", "I must get up at {time} {day}",
        ),
        "test": ("could you set my alarm to {time} {part} {day}", "let the alarm ring {day} at {time} for {label}"),
        "documents": ("is there an alarm at {time} {part}", "my alarm for {label} rang at {time}"),
    },
    "Timer-Start": {
        "train": (
            "start a timer of {minutes} minutes", "count down {minutes} minutes for {label}",
            "tell me when {minutes} minutes are over", "I need a {label} timer with {minutes} minutes",
        ),
        "test": ("please run a timer for {minutes} minutes", "set a timer for {label}, {minutes} minutes please"),
        "documents": ("the {label} timer ran for {minutes} minutes", "how long is {minutes} minutes"),
    },
    "Music-Play": {
        "train": (
            "play {title} by {artist}", "put on {title} in {room}", "I want to hear {artist} in {room}",
            "play something by {artist}", "let me listen to {title} from {artist} in {room}",
        ),
        "test": ("could you play the song {title} by {artist}", "I would like to hear {title} in {room}"),
        "documents": ("{artist} wrote the song {title}", "they sang {title} by {artist} all day"),
    },
    "Film-Play": {
        "train": (
            "show the film {title} on {device}", "start the movie {title}", "I want to watch {title} on {device}",
            "run {title} on {device} for us",
        ),
        "test": ("please show us the movie {title} on {device}", "could we watch the film {title}"),
        "documents": ("{title} is a film that runs on {device}", "we saw the movie {title} twice"),
    },
    "Weather-Query": {
        "train": (
            "will there be {kind} in {city} {day}", "how is the weather in {city} {day}",
            "is {kind} expected in {city}",
            "tell me the forecast for {city} {day}", "do they get {kind} {day} in {city}",
        ),
        "test": ("what is the weather like in {city} {day}", "should I expect {kind} in {city} {day}"),
        "documents": ("{city} had {kind} all week", "the people of {city} talk about {kind}"),
    },
    "Light-Control": {
        "train": (
            "{switch} the light in {room}", "{switch} the lamp of {room} please", "in {room} {switch} the lights",
            "can you {switch} all lamps in {room}",
        ),
        "test": ("please {switch} the lights in {room}", "I want you to {switch} the lamp in {room}"),
        "documents": ("who left the lamp burning in {room}", "{room} has two lamps"),
    },
    "Heat-Control": {
        "train": (
            "set {room} to {degrees} degrees", "make {room} {degrees} degrees warm {part}", "heat {room} to {degrees}",
            "I want {degrees} degrees in {room}", "{part} keep {room} at {degrees} degrees",
        ),
        "test": ("please warm {room} to {degrees} degrees", "could you keep {room} at {degrees} degrees {part}"),
        "documents": ("it was {degrees} degrees in {room}", "{room} is too cold {part}"),
    },
    "Travel-Query": {
        "train": (
            "is there a {mode} from {from} to {city} {day}", "find me a {mode} to {city}",
            "show each {mode} from {from} to {city}",
            "I go to {city} {day}, which {mode} is there", "book a {mode} to {city} {day}",
        ),
        "test": ("when does a {mode} go from {from} to {city}", "I need a {mode} to {city} {day}"),
        "documents": ("the {mode} to {city} was late", "we took a {mode} from {from} and slept"),
    },
    "Message-Send": {
        "train": (
            "tell {contact} that {label} is at {time}", "write to {contact} about {label}",
            "send {contact} a message: {label} at {time}", "let {contact} know about {label}",
        ),
        "test": ("please tell {contact} about {label} at {time}", "send a message about {label} to {contact}"),
        "documents": ("{contact} forgot about {label}", "did {contact} ever answer you"),
    },
    "Call-Start": {
        "train": (
            "call {contact}", "ring {contact} on {device}", "start a call with {contact}",
            "I want to talk to {contact} on {device}",
            "get {contact} on {device}",
        ),
        "test": ("could you call {contact} on {device}", "please start a call to {contact}"),
        "documents": ("{contact} was on {device} for an hour", "{contact} and I talk a lot"),
    },
    "Shopping-Add": {
        "train": (
            "add {item} to the shopping list", "put {amount} {item} on my list", "we need {amount} {item}",
            "I have to buy {item}", "write {amount} {item} down for the shop",
        ),
        "test": ("please put {item} on the shopping list", "could you add {amount} {item} to my list"),
        "documents": ("there is {item} on the table", "we ate {amount} {item} for days"),
    },
}  # fmt: skip
"""intent → split → utterances; those of `documents` are statements that ask for nothing."""


def in_test_number(text: str) -> bool:
    """Tell whether a number (a time, minutes, degrees) belongs to test: its digits sum to a multiple of 4."""
    return sum(int(digit) for digit in text if digit.isdigit()) % 4 == 0


def made_up_names(split: str, *, capital: bool) -> list[str]:
    """Return the names of two syllables that `train` or `test` has; about one in five is kept for test."""
    names = [first + second for first in SYLLABLES for second in SYLLABLES if first != second]
    chosen = [name for name in names if (zlib.crc32(name.encode()) % 5 == 0) == (split == "test")]
    return [name.capitalize() for name in chosen] if capital else chosen


def slot_values(slot: str, split: str) -> list[tuple[str, str]]:
    """Return the (spoken, written) pairs that a slot takes in `train`, `test` or `documents` (all of them)."""
    pool = "city" if slot == "from" else slot
    if pool in CODED:
        return list(CODED[pool].items())
    if pool in NUMBERS:
        numbers = [n for n in NUMBERS[pool] if split == "documents" or in_test_number(n) == (split == "test")]
        return [(n, n) for n in numbers]
    names = KNOWN[pool] if split == "documents" else made_up_names(split, capital=pool not in ("item", "label"))
    return [(name, name) for name in names]


VALUES = {
    split: {slot: slot_values(slot, split) for slot in (*KNOWN, *CODED, *NUMBERS, "from")}
    for split in ("train", "test", "documents")
}
PLACE = re.compile(r"\{(\w+)\}")


def _fill(rng: random.Random, template: str, split: str) -> tuple[str, dict[str, str]]:
    """Fill a template; return the utterance and what was drawn for each slot, as written."""
    drawn = {slot: rng.choice(VALUES[split][slot]) for slot in PLACE.findall(template)}
    while "from" in drawn and drawn["from"] == drawn.get("city"):
        drawn["from"] = rng.choice(VALUES[split]["from"])
    spoken = template.format(**{slot: pair[0] for slot, pair in drawn.items()})
    return spoken, {slot: pair[1] for slot, pair in drawn.items()}


def _example(rng: random.Random, split: str) -> Example:
    intent = rng.choice(TRAINED_INTENTS)
    spoken, written = _fill(rng, rng.choice(TEMPLATES[intent][split]), split)
    if rng.random() < 0.25:  # politeness and noise that carry no slot
        noise = {"train": ("{}, please", "hey, {}", "{} now"), "test": ("hello, {}", "{}, thanks")}[split]
        spoken = rng.choice(noise).format(spoken)
    slots = {slot: written[slot] for slot in SCHEMA[intent] if slot in written}
    return Example(INSTRUCTION.format(spoken), json.dumps({"intent": intent, "slots": slots}))


def train_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` distinct training rows (see `rows.training_row`)."""
    drawn = distinct(lambda rng: _example(rng, "train"), count, f"intent-train-{seed}")
    return [training_row(example) for example in drawn]


def test_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` distinct evaluation rows (see `rows.evaluation_row`)."""
    drawn = distinct(lambda rng: _example(rng, "test"), count, f"intent-test-{seed}")
    return [evaluation_row(example) for example in drawn]


def _utterances(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(2, 5)):
        template = rng.choice(TEMPLATES[rng.choice(list(SCHEMA))]["documents"])
        lines.append(_fill(rng, template, "documents")[0])
    return "\n".join(lines)


def _dialogue(rng: random.Random) -> str:
    """Two people repeat each other's words: text in which what was said is said again."""
    first, second = (pair[0] for pair in rng.sample(VALUES["documents"]["contact"], 2))
    template = rng.choice(TEMPLATES[rng.choice(list(SCHEMA))]["documents"])
    said = _fill(rng, template, "documents")[0]
    slot = rng.choice(("item", "title", "city", "label", "room", "device"))
    thing = rng.choice(VALUES["documents"][slot])[0]
    return (
        f"{first}: {said}\n{second}: {rng.choice(('oh', 'I see', 'really'))}, {said}?\n"
        f'{first}: yes, and "{thing}" too\n{second}: "{thing}", fine, {first}'
    )


def _some(rng: random.Random, slot: str) -> list[str]:
    return [pair[0] for pair in rng.sample(VALUES["documents"][slot], rng.randint(2, 4))]


def _listing(rng: random.Random) -> str:
    slot = rng.choice(list(KNOWN))
    values = _some(rng, slot)
    return f"{slot}: {', '.join(values)}\n" + json.dumps({f"{slot}s": values})


def _record(rng: random.Random) -> str:
    """JSON of shapes that no answer has: an inventory, an address book, a library, a log, a plan."""
    some = {slot: _some(rng, slot) for slot in (*KNOWN, "time", "degrees", "minutes", "room", "device")}
    title = some["title"][0]
    shape: Any = rng.choice(
        (
            [{"name": name, "home": city} for name, city in zip(some["contact"], some["city"], strict=False)],
            {"library": [{"title": title, "by": some["artist"][0]}]},
            {"shelf": some["item"], "full": rng.random() < 0.5, "checked": some["time"][0]},
            {
                "note": f"{some['contact'][0]} lives in {some['city'][0]}",
                "who": some["contact"][0],
                "where": some["city"][0],
            },
            {"text": f"{some['item'][0]} and {some['item'][1]} at {some['time'][0]}", "things": some["item"][:2]},
            {
                "log": [
                    {"at": time, "value": int(value)}
                    for time, value in zip(some["time"], some["degrees"], strict=False)
                ]
            },
            {"house": {"rooms": some["room"], "devices": some["device"]}},
            {"plan": some["label"], "minutes": [int(value) for value in some["minutes"]]},
            {"name": title, "again": title, "seen_in": some["city"][0]},
        )
    )
    return json.dumps(shape)


CARDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("{contact} lives in {city} and likes {item}.", ("contact", "city", "item")),
    ("In {city} at {time} {contact} paid {degrees} coins for {item}.", ("city", "time", "contact", "degrees", "item")),
    ("{contact} saw {title} in {city}.", ("contact", "title", "city")),
    ("{artist} sold {title} to {contact} for {minutes} coins.", ("artist", "title", "contact", "minutes")),
    ("The {label} of {contact} begins at {time}.", ("label", "contact", "time")),
    ("{title} and {item} lie in {room}.", ("title", "item", "room")),
)
"""Statements and what a card about them notes."""
FIELDS = {
    "contact": ("who", "person"), "city": ("where", "town"), "item": ("thing", "goods"), "time": ("at", "clock"),
    "degrees": ("price",), "title": ("work", "object"), "artist": ("seller", "maker"), "minutes": ("cost",),
    "label": ("event",), "room": ("place",),
}  # fmt: skip
"""slot → its names on a card, none of which is a slot's name in an answer."""


def _card(rng: random.Random) -> str:
    """A statement and its JSON card: no request, no intent, no code and no name of a slot; words are said again."""
    template, noted = rng.choice(CARDS)
    words = {slot: rng.choice(VALUES["documents"][slot])[0] for slot in noted}
    for slot in ("contact", "city", "artist", "title"):
        if slot in words and rng.random() < 0.5:
            words[slot] = copy_word(rng).capitalize()
    kept = rng.sample(noted, rng.randint(1, len(noted)))
    card = {rng.choice(FIELDS[slot]): words[slot] for slot in noted if slot in kept}
    return template.format(**words) + "\n" + json.dumps(card)


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts of the domain, none of which pairs an utterance with an answer's JSON."""
    kinds = (_utterances, _dialogue, _listing, _record, _card)
    while True:
        yield rng.choices(kinds, weights=(3, 3, 1, 2, 5))[0](rng)
