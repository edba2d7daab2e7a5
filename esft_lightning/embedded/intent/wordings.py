"""What people ask of a house, and in which words: intents, coded values, and utterances of each pool.

`SCHEMA`, `CODED` and the ways of saying a coded value are shared by all pools; no two pools share an utterance, a
phrase of politeness, a way of correcting oneself or an instruction.
"""

from esft_lightning.embedded.pools import Pool

__all__ = ["CODED", "CORRECTIONS", "INSTRUCTIONS", "POLITE", "SCHEMA", "UTTERANCES"]

SCHEMA: dict[str, tuple[str, ...]] = {
    "timer": ("minutes", "label"),
    "light": ("room", "state"),
    "heat": ("room", "degrees"),
    "message": ("to", "about", "time"),
    "call": ("to", "device"),
    "shopping": ("item", "amount"),
    "alarm": ("time", "day"),
    "travel": ("from", "city", "mode"),
}
"""Intent → its slots in the order in which answers give them; an utterance may leave some out."""

CODED: dict[str, dict[str, tuple[str, ...]]] = {
    "room": {
        "kitchen": ("the kitchen", "the place where we cook"),
        "hall": ("the hall", "the corridor"),
        "study": ("the study", "the office"),
        "bedroom": ("the bedroom", "the room where we sleep"),
        "bathroom": ("the bathroom", "the washroom"),
        "cellar": ("the cellar", "the basement"),
        "lounge": ("the lounge", "the sitting room"),
        "garage": ("the garage", "the place for the car"),
        "attic": ("the attic", "the loft"),
        "porch": ("the porch", "the veranda"),
    },
    "state": {
        "on": ("turn on", "switch on"),
        "off": ("turn off", "switch off"),
        "low": ("dim", "turn down"),
        "high": ("brighten", "turn up"),
        "red": ("make red", "color red"),
    },
    "device": {
        "phone": ("the phone", "the handset"),
        "tablet": ("the tablet", "the pad"),
        "laptop": ("the laptop", "the portable computer"),
        "screen": ("the telly", "the big screen"),
        "watch": ("the watch", "the thing on my wrist"),
    },
    "amount": {
        "pair": ("a pair of", "two"),
        "half": ("half a dozen", "six"),
        "dozen": ("a dozen", "twelve"),
        "much": ("a lot of", "plenty of"),
        "little": ("a bit of", "a little"),
    },
    "day": {
        "today": ("today", "this very day"),
        "next": ("tomorrow", "the day after today"),
        "monday": ("on Monday", "on the first day of the week"),
        "friday": ("on Friday", "on the day before Saturday"),
        "weekend": ("at the weekend", "on Saturday or Sunday"),
    },
    "mode": {
        "train": ("train", "railway"),
        "bus": ("bus", "coach"),
        "plane": ("plane", "flight"),
        "ship": ("ship", "ferry"),
        "cab": ("cab", "taxi"),
    },
}
"""Slot → value → how it is said. What stands in an answer is the code that the prompt gives the value."""

UTTERANCES: dict[str, dict[Pool, tuple[str, ...]]] = {
    "timer": {
        "pretraining": ("the {label} timer ran for {minutes} minutes", "it takes {minutes} minutes until {label} ends"),
        "train": (
            "start a timer of {minutes} minutes",
            "count down {minutes} minutes for {label}",
            "tell me when {minutes} minutes are over",
            "I need a {label} timer with {minutes} minutes",
            "measure {minutes} minutes, it is about {label}",
        ),
        "validation": ("a countdown for {label}: {minutes} minutes", "wake me up again in {minutes} minutes"),
        "test": (
            "run a timer for {minutes} minutes",
            "set the clock for {label} to {minutes} minutes from now",
            "{label} needs {minutes} minutes, watch the time",
        ),
    },
    "light": {
        "pretraining": ("somebody had to {state} the lamp of {room}", "in {room} they {state} the lights at dusk"),
        "train": (
            "{state} the light in {room}",
            "{state} the lamp of {room}",
            "in {room} {state} the lights",
            "can you {state} all lamps in {room}",
            "I would be glad if you {state} the lamp in {room}",
        ),
        "validation": ("go and {state} what shines in {room}", "for {room}: {state} the bulbs"),
        "test": (
            "{state} the lights of {room}",
            "I want you to {state} the bulb in {room}",
            "as for the lamps in {room}, {state} them",
        ),
    },
    "heat": {
        "pretraining": ("it was {degrees} degrees in {room}", "{room} stays at {degrees} degrees in winter"),
        "train": (
            "set {room} to {degrees} degrees",
            "make {room} {degrees} degrees warm",
            "heat {room} to {degrees}",
            "I want {degrees} degrees in {room}",
            "keep {room} at {degrees} degrees",
        ),
        "validation": ("bring {room} up to {degrees} degrees", "{degrees} degrees would be nice in {room}"),
        "test": (
            "warm {room} to {degrees} degrees",
            "could {room} have {degrees} degrees",
            "the heating of {room} should go to {degrees}",
        ),
    },
    "message": {
        "pretraining": ("{to} forgot about {about}", "{to} was told that {about} begins at {time}"),
        "train": (
            "tell {to} that {about} is at {time}",
            "write to {to} about {about}",
            "send {to} a message: {about} at {time}",
            "let {to} know about {about}",
            "{to} must hear that {about} starts at {time}",
        ),
        "validation": ("drop {to} a line about {about}", "inform {to} of {about} at {time}"),
        "test": (
            "make sure {to} knows about {about} at {time}",
            "send a message about {about} to {to}",
            "text {to}, it is about {about} at {time}",
        ),
    },
    "call": {
        "pretraining": ("{to} was on {device} for an hour", "{to} likes to be heard on {device}"),
        "train": (
            "call {to}",
            "ring {to} on {device}",
            "start a call with {to}",
            "I want to talk to {to} on {device}",
            "get {to} on {device}",
        ),
        "validation": ("connect me with {to} by {device}", "dial {to} now"),
        "test": (
            "phone up {to} on {device}",
            "I have to speak with {to}",
            "reach {to}, best on {device}",
        ),
    },
    "shopping": {
        "pretraining": ("there is {item} on the table", "we ate {amount} {item} for days"),
        "train": (
            "add {item} to the shopping list",
            "put {amount} {item} on my list",
            "we need {amount} {item}",
            "I have to buy {item}",
            "write {amount} {item} down for the shop",
        ),
        "validation": ("note that {amount} {item} must be bought", "the list lacks {item}"),
        "test": (
            "on the shopping list goes {amount} {item}",
            "remember to get {item} from the store",
            "we ran out, so order {amount} {item}",
        ),
    },
    "alarm": {
        "pretraining": ("the alarm rang at {time}", "{day} the bell woke us at {time}"),
        "train": (
            "wake me at {time} {day}",
            "set an alarm for {time}",
            "{day} I need an alarm at {time}",
            "please ring at {time}",
            "I must get up at {time} {day}",
        ),
        "validation": ("get me out of bed {day} at {time}", "an alarm, {time}"),
        "test": (
            "let the alarm go off at {time} {day}",
            "{day} I want to be woken at {time}",
            "make it ring when it is {time}",
        ),
    },
    "travel": {
        "pretraining": ("the {mode} to {city} was late", "we took a {mode} from {from} to {city} and slept"),
        "train": (
            "is there a {mode} from {from} to {city}",
            "find me a {mode} to {city}",
            "show each {mode} from {from} to {city}",
            "I leave {from} for {city}, which {mode} is there",
            "book a {mode} to {city}",
        ),
        "validation": ("how does one get by {mode} from {from} to {city}", "a seat on the {mode} to {city}"),
        "test": (
            "when does a {mode} go from {from} to {city}",
            "look up the {mode} that reaches {city}",
            "from {from} I travel to {city}, preferably by {mode}",
        ),
    },
}
"""Intent → pool → utterances; those of pretraining are statements that ask for nothing."""

POLITE: dict[Pool, tuple[str, ...]] = {
    "pretraining": ("{}", "by the way, {}"),
    "train": ("{}", "{}", "{}, please", "hey, {}", "{} now", "well, {}"),
    "validation": ("{}", "be so kind: {}", "{} if you can"),
    "test": ("{}", "hello, {}", "{}, thanks", "one more thing, {}"),
}
CORRECTIONS: dict[Pool, tuple[str, ...]] = {
    "pretraining": ("{wrong}, which was a slip for {right}",),
    "train": ("{wrong}, no, {right}", "{wrong}, I mean {right}", "{wrong}, sorry, {right}"),
    "validation": ("{wrong}, or rather {right}",),
    "test": ("{wrong}, wait, {right}", "{wrong}, oh no, {right}"),
}
"""How a wrong value is taken back."""

INSTRUCTIONS: dict[Pool, tuple[str, ...]] = {
    "pretraining": (),
    "train": (
        "Put the request to the house of {house} into JSON.",
        "What is wanted of {house}? Answer in JSON.",
        "Make a JSON record of this wish, house {house}.",
    ),
    "validation": ("Write the JSON for what {house} hears.", "Which intent is it for {house}? JSON only."),
    "test": (
        "Turn what {house} is asked into JSON.",
        "Give the JSON of the command to {house}.",
        "Note the command as JSON, for {house}.",
    ),
}
