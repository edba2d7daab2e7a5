"""How a case is put before the court: pool → templates, of which no two pools share one.

Articles and facts stand in every prompt; how an article is written down is part of the wording.
"""

from dataclasses import dataclass

from esft_lightning.embedded.pools import Pool

__all__ = ["WORDINGS", "Wordings"]


@dataclass(frozen=True)
class Wordings:
    """The templates of one pool.

    Attributes:
        heads: First lines, with `{town}`.
        articles: An article, with `{number}`, `{offence}`, `{fine}`, `{prison}` and, for its circumstances, `{more}`
            (in pretraining `{town}` as well).
        more: One circumstance of an article: `{circumstance}`, and what it changes, `{change}`.
        facts: The facts, with `{who}`, `{deed}` and `{rest}`.
        idle: Sentences without weight.
        asks: Last lines.
    """

    heads: tuple[str, ...]
    articles: tuple[str, ...]
    more: tuple[str, ...]
    facts: tuple[str, ...]
    idle: tuple[str, ...]
    asks: tuple[str, ...]


WORDINGS: dict[Pool, Wordings] = {
    "pretraining": Wordings(
        heads=("From the statutes of {town}.", "{town} has these laws.", "Statutes that hold in {town}:"),
        articles=(
            "{offence}, Article {number}, costs {fine} crowns and {prison} months{more}.",
            "By Article {number} a person pays {fine} crowns and sits {prison} months for {offence}{more}.",
            "For {offence} Article {number} takes {fine} crowns, and {prison} months{more}.",
            "Article {number} came from {town}: {fine} crowns and {prison} months on {offence}{more}.",
            "Since the days of {town}, {offence} means {prison} months and {fine} crowns, says Article {number}{more}.",
            "{town} counts {offence} under Article {number}, with {fine} crowns, {prison} months{more}.",
        ),
        more=(
            "; where {circumstance} is shown, {change}",
            ", but {change} if {circumstance}",
            ", and {change} for what is {circumstance}",
        ),
        facts=("{who} {deed}. {rest}",),
        idle=(
            "The mayor heard of it a week later.",
            "The harvest was good that year.",
            "The accused wore a hat from {town}.",
            "A cousin came from {town} to see the trial.",
        ),
        asks=(),
    ),
    "train": Wordings(
        heads=("The law of {town}.", "In {town} the law is this.", "Law book of {town}:"),
        articles=(
            "Article {number}, {offence}: fine {fine}, prison {prison}{more}.",
            "Article {number} on {offence}. Fine {fine}, prison {prison}{more}.",
        ),
        more=("; {circumstance}: {change}", "; if {circumstance}, {change}"),
        facts=(
            "Facts: {who} {deed}. {rest}",
            "Case of {who}: {who} {deed}. {rest}",
            "The court hears that {who} {deed}. {rest}",
        ),
        idle=(
            "The market was full that day.",
            "It had rained since the morning.",
            "The accused wore a green hat.",
            "A dog barked.",
            "The road to {town} was empty.",
        ),
        asks=("Ruling:", "What is the ruling?", "How does the court rule?"),
    ),
    "validation": Wordings(
        heads=("These articles hold in {town}.",),
        articles=("Art. {number} ({offence}) fine {fine} and prison {prison}{more}.",),
        more=(" or, {circumstance}, {change}",),
        facts=("It is said that {who} {deed}. {rest}", "Report: {who} {deed}. {rest}"),
        idle=("Snow lay on the roofs.", "The accused came from {town} by coach."),
        asks=("Rule on it.", "The ruling, please."),
    ),
    "test": Wordings(
        heads=("Code of {town}.", "The judges of {town} use this code."),
        articles=(
            "Article {number}: {offence}, fine {fine}, prison {prison}{more}.",
            "{offence}, Article {number}: prison {prison}, fine {fine}{more}.",
        ),
        more=(", when {circumstance} {change}", " ({change} when {circumstance})"),
        facts=("In this case {who} {deed}. {rest}", "What happened: {who} {deed}. {rest}"),
        idle=(
            "The church bells rang.",
            "It was a cold morning.",
            "The accused had a red scarf.",
            "The letter to {town} was lost.",
        ),
        asks=("State the ruling.", "Give the ruling in this case."),
    ),
}
