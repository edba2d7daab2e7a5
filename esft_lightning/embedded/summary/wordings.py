"""How calls are held: kind of turn → pool → templates, of which no two pools share one.

`{order}`, `{other}` are order numbers, `{brand}` and `{noun}` the thing, `{x}` what is wrong or wanted or promised,
`{y}` a phrase of another label that is named and denied, `{day}` a day, `{town}` a town (pretraining alone).
"""

from esft_lightning.embedded.pools import Pool

__all__ = ["CORRECTIONS", "FILLERS", "TURNS"]

TURNS: dict[str, dict[Pool, tuple[str, ...]]] = {
    "opening": {
        "pretraining": (
            "Desk of {town}, good day.",
            "Service, what is it about?",
            "{town} speaking.",
            "This is the counter of {town}.",
        ),
        "train": ("Hello, how can I help?", "Good morning, what is the matter?", "Help desk here."),
        "validation": ("Good evening, you have reached the shop.", "Yes, hello?"),
        "test": ("Good day, this is the service line.", "Welcome, what happened?"),
    },
    "order": {
        "pretraining": (
            "The number is {order}, for a {brand} {noun}.",
            "Order {order}, the {noun} of {brand}.",
            "A {noun} that {brand} made, {order} on the label.",
            "{brand} sold me the {noun} that is number {order}.",
            "I have here a {noun}, {brand}, number {order}.",
        ),
        "train": (
            "It is order {order}, a {brand} {noun}.",
            "My {brand} {noun} has order number {order}.",
            "I am calling about order {order}, the {brand} {noun}.",
        ),
        "validation": ("On the slip of my {brand} {noun} stands {order}.", "{order} is the order, one {brand} {noun}."),
        "test": (
            "I bought a {brand} {noun} as order {order}.",
            "The {brand} {noun} came under number {order}.",
            "Please look up {order}, that is a {brand} {noun}.",
        ),
    },
    "other": {
        "pretraining": (
            "Order {other} is another story.",
            "{other} was all right.",
            "Number {other} works as it should.",
            "Of {other} I do not complain.",
        ),
        "train": (
            "Order {other} was fine, by the way.",
            "It is not about order {other}, that one is all right.",
            "With order {other} I am still happy.",
        ),
        "validation": ("Leave {other} aside, I am content with it.", "My wife has {other}, which is good."),
        "test": (
            "There was also {other}, but it gives me no trouble.",
            "Do not mix it up with {other}, which works well.",
        ),
    },
    "ask_fault": {
        "pretraining": ("And the fault?", "So what about it?", "Go on.", "Which fault does it have?"),
        "train": ("What is wrong?", "Tell me what happened.", "What is the trouble with it?"),
        "validation": ("What can you tell me about it?",),
        "test": ("What seems to be the problem?", "And how does it behave?"),
    },
    "fault": {
        "pretraining": (
            "The trouble: it {x}.",
            "I must say that it {x}.",
            "Now it {x}.",
            "Since {town} had rain, it {x}.",
            "My cousin from {town} says it {x}.",
        ),
        "train": ("It {x}.", "The thing {x}.", "You see, it {x}.", "I am sorry to say that it {x}."),
        "validation": ("To be honest, it {x}.", "What I found is that it {x}."),
        "test": ("The problem is that it {x}.", "Believe me, it {x}.", "Sadly it {x}."),
    },
    "denied_fault": {
        "pretraining": (
            "Nobody says that it {y}; it {x}.",
            "In {town} they think it {y}, yet it {x}.",
            "Not that it {y}, only that it {x}.",
        ),
        "train": ("I do not say that it {y}. It {x}.", "The old one had the fault that it {y}, but this one {x}."),
        "validation": ("My neighbor has one that {y}. Mine {x}.",),
        "test": ("People think that it {y}. No, it {x}.", "It is not so that it {y}; the truth is that it {x}."),
    },
    "ask_remedy": {
        "pretraining": ("And now?", "What do you wish?", "So what shall we do?", "Your wish?"),
        "train": ("What can we do for you?", "What do you want?", "How shall we settle it?"),
        "validation": ("What do you expect of us?",),
        "test": ("What should happen now?", "Which solution would you like?"),
    },
    "remedy": {
        "pretraining": (
            "The wish: {x}, {day} at the latest.",
            "All I ask is to {x}, {day} being the last day.",
            "For {town} it would be good to {x}, by {day}.",
        ),
        "train": (
            "Please {x} by {day}.",
            "Could you {x}? I need it by {day}.",
            "I would like you to {x} before {day}.",
        ),
        "validation": ("It would be best to {x}, and not after {day}.", "By {day} I want you to {x}."),
        "test": (
            "You had better {x} until {day}.",
            "Until {day} at the latest you should {x}.",
            "My wish is this: {x}, {day} is the limit.",
        ),
    },
    "denied_remedy": {
        "pretraining": (
            "Not that you should {y}. The wish: {x}, {day} at the latest.",
            "I once thought you could {y}, now I ask you to {x}, by {day}.",
        ),
        "train": (
            "You need not {y}. Please {x} by {day}.",
            "Do not {y}, it is enough if you {x} by {day}.",
        ),
        "validation": ("I could ask you to {y}, but rather {x}, and not after {day}.",),
        "test": (
            "Others would make you {y}. You should {x} until {day}.",
            "To {y} is no help. You had better {x} until {day}.",
        ),
    },
    "promised": {
        "pretraining": (
            "They once said they would {y}.",
            "In {town} a clerk wanted to {y}.",
            "I was told to wait while you {y}.",
        ),
        "train": ("Last time you said you would {y}.", "A colleague promised to {y}."),
        "validation": ("In May somebody offered to {y}.",),
        "test": ("The other day a man told me that he would {y}.", "I heard before that you would {y}."),
    },
    "action": {
        "pretraining": (
            "Noted. We are going to {x}.",
            "So be it: we {x}.",
            "{town} agrees to {x}.",
            "From here we {x}.",
        ),
        "train": ("Fine, I will {x}.", "All right, I will {x}.", "Thank you. We will {x}."),
        "validation": ("Understood, the plan is to {x}.", "Then it falls to me to {x}."),
        "test": ("Very well, I shall {x}.", "I see. Now I am to {x}.", "We shall {x}, I promise."),
    },
    "request": {
        "pretraining": (),
        "train": ("Write the note.", "Note of the call:", "Sum up the call."),
        "validation": ("Put the call on record.", "What goes into the book?"),
        "test": ("Make the entry for this call.", "Summary of the conversation:"),
    },
}

CORRECTIONS: dict[Pool, tuple[str, ...]] = {
    "pretraining": ("{wrong}, which should read {right}", "{wrong}, correction, {right}"),
    "train": ("{wrong}, no sorry, {right}", "{wrong}, I mean {right}", "{wrong}, wait, no, {right}"),
    "validation": ("{wrong}, or rather {right}", "{wrong}, strike that, {right}"),
    "test": ("{wrong}, oh, it is {right}", "{wrong}, forgive me, {right}"),
}
FILLERS: dict[Pool, tuple[str, ...]] = {
    "pretraining": ("Hm. ", "Yes. ", "Oh. "),
    "train": ("Um... ", "Uh... ", "Well... "),
    "validation": ("Ah... ", "Look. "),
    "test": ("Er... ", "So... ", "Now then. "),
}
