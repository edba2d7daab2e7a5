"""Law: case facts of an invented jurisdiction → ruling under its fixed statutes (an adaptation task).

One training row::

    user:      Case of Alda Brenn. Alda Brenn stole a goat out of the barn. It was done at night. The accused confessed
               to the bailiff. The market was full that day. The charge is theft. What is the ruling?
    assistant: Guilty of theft under Article 2. Fine of 60 crowns and no custody. Costs borne by the defendant.

The Code of Norvale is the same for every seed: twelve offences, each with its article, fine and custody, and four
rules. Article 13: an aggravating circumstance doubles the fine. Article 14: a mitigating one removes the custody.
Article 15: a justified or innocent person is not guilty. Article 16: the defendant bears the costs, but the crown does
after an acquittal or when the defendant is destitute.

Score: the share of four fields (article, verdict, penalty, costs) that are right (`metrics/law.py`).

Split: the training rows and the test rows share no person, no thing, no place, no wording of a deed or circumstance and
no frame; what they share is the Code. `documents` gives the statutes, commentary on them and facts that await their
ruling: never a ruling.

This file knows the Code and its wordings. It does not know chat formats, tokenizers or scoring.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from esft_lightning.data.embedded.rows import Example, distinct, evaluation_row, training_row

__all__ = ["OFFENCES", "Offence", "Wordings", "documents", "ruling", "test_rows", "train_rows"]


@dataclass(frozen=True)
class Offence:
    """One article of the Code.

    Attributes:
        article: Its number, 1 to 12.
        name: Name of the offence, as rulings write it.
        fine: Base fine in crowns.
        months: Base custody in months, at least 1.
        definition: What the statute calls the offence, after "Whoever".
        train_deeds: Wordings of training facts, after the person's name.
        test_deeds: Wordings that only test facts use.
    """

    article: int
    name: str
    fine: int
    months: int
    definition: str
    train_deeds: tuple[str, ...]
    test_deeds: tuple[str, ...]


OFFENCES: tuple[Offence, ...] = (
    Offence(
        1,
        "trespass",
        10,
        1,
        "enters or stays on the land or in the house of another without leave commits trespass",
        (
            "entered the {place} without leave",
            "climbed the fence and walked through the {place}",
            "stayed in the {place} although told to leave",
        ),
        ("went into the {place} without leave", "climbed over the fence into the {place}"),
    ),
    Offence(
        2,
        "theft",
        30,
        2,
        "takes, steals or carries off a thing of another without paying commits theft",
        (
            "stole {thing} out of the {place}",
            "took {thing} from the {place} without paying",
            "carried off {thing} that belonged to {other}",
        ),
        ("took {thing} of {other} and never paid", "stole {thing} that belonged to {other}"),
    ),
    Offence(
        3,
        "fraud",
        50,
        4,
        "cheats another with a lie or sells what is false as true commits fraud",
        (
            "sold {other} false gold as true gold",
            "cheated {other} with a lie about {thing}",
            "sold {thing} twice to cheat {other}",
        ),
        ("cheated {other} when selling {thing}", "lied to {other} and sold false silver as true"),
    ),
    Offence(
        4,
        "forgery",
        45,
        5,
        "makes a false seal, coin or signature or alters a document commits forgery",
        (
            "signed a deed with the name of {other}",
            "made a false seal in the {place}",
            "altered the date in a document of {other}",
        ),
        ("altered a document with a false seal", "wrote the signature of {other} on a deed"),
    ),
    Offence(
        5,
        "arson",
        90,
        9,
        "sets fire to a building, field or thing of another or burns it commits arson",
        (
            "set fire to the {place}",
            "burned down the {place} of {other}",
            "threw a burning torch into the {place}",
        ),
        ("set the {place} of {other} on fire", "burned the {place} with a torch"),
    ),
    Offence(
        6,
        "assault",
        40,
        6,
        "strikes, beats or hurts another commits assault",
        (
            "struck {other} in the face",
            "beat {other} with a stick at the {place}",
            "hurt {other} in a fight about {thing}",
        ),
        ("struck {other} with a stick", "beat {other} in the face and hurt an eye"),
    ),
    Offence(
        7,
        "smuggling",
        60,
        3,
        "brings goods over the border without paying duty commits smuggling",
        (
            "brought salt over the border without paying duty",
            "hid {thing} from the customs at the border",
            "rowed {thing} across the border river past the customs",
        ),
        ("brought {thing} over the border past the customs", "paid no duty at the border for {thing}"),
    ),
    Offence(
        8,
        "poaching",
        15,
        2,
        "hunts, shoots or nets game or fish without a licence commits poaching",
        (
            "shot a deer without a licence",
            "netted trout in the pond of {other}",
            "set snares for hares near the {place}",
        ),
        ("hunted deer without a licence", "set snares and netted hares on the land of {other}"),
    ),
    Offence(
        9,
        "slander",
        20,
        1,
        "spreads an untrue story about another or insults another in public commits slander",
        (
            "spread an untrue story about {other}",
            "called {other} a liar in public",
            "insulted {other} in public at the {place}",
        ),
        ("told an untrue story about {other} in public", "insulted {other} and spread a rumour"),
    ),
    Offence(
        10,
        "bribery",
        70,
        4,
        "offers or gives an officer money or a gift for a favour commits bribery",
        (
            "offered an officer money for a favour",
            "gave a judge {thing} as a secret gift",
            "slipped coins to an officer at the {place}",
        ),
        ("gave an officer {thing} for a favour", "offered a judge coins as a secret gift"),
    ),
    Offence(
        11,
        "vandalism",
        25,
        3,
        "breaks, smashes or paints a thing of another out of malice commits vandalism",
        (
            "smashed the windows of the {place}",
            "broke {thing} of {other} out of malice",
            "painted insults on the wall of the {place}",
        ),
        ("smashed {thing} of {other} out of malice", "broke the windows and painted the door of the {place}"),
    ),
    Offence(
        12,
        "perjury",
        80,
        8,
        "lies under oath or hides the truth as a witness in court commits perjury",
        (
            "lied under oath about {thing}",
            "swore in court that {other} was absent and knew it was untrue",
            "hid the truth as a sworn witness against {other}",
        ),
        ("lied as a sworn witness in court", "swore an oath in court and hid the truth about {thing}"),
    ),
)


@dataclass(frozen=True)
class Wordings:
    """Slot values and templates of one side of the split.

    Attributes:
        people: Full names of defendants and others.
        things: Things with their article, for `{thing}`.
        places: Places without article, for `{place}`.
        aggravating: Sentences that double the fine (Article 13).
        mitigating: Sentences that remove the custody (Article 14).
        justifying: Sentences that acquit (Article 15).
        destitute: Sentences that move the costs to the crown (Article 16).
        idle: Sentences without weight.
        frames: Whole prompts with `{who}`, `{deed}`, `{rest}` and `{charge}`.
    """

    people: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    aggravating: tuple[str, ...]
    mitigating: tuple[str, ...]
    justifying: tuple[str, ...]
    destitute: tuple[str, ...]
    idle: tuple[str, ...]
    frames: tuple[str, ...]


def _people(first: str, last: str) -> tuple[str, ...]:
    return tuple(f"{a} {b}" for a in first.split() for b in last.split())


TRAIN = Wordings(
    people=_people(
        "Alda Berin Cato Dorit Edwin Fenna Garo Hilde Ivo Jora Kelm Lisbet", "Brenn Castel Dunmar Falk Osk Tarn"
    ),
    things=(
        *(
            "a goat",
            "a clock",
            "a saddle",
            "a silver cup",
            "a barrel of beer",
            "a cart",
            "a wool coat",
            "a sack of flour",
        ),
        *("a lantern", "a copper pot", "a violin", "a hen", "a bundle of furs", "a mirror", "a gold ring", "a plough"),
    ),
    places=("barn", "mill", "bakery", "orchard", "chapel", "stable", "inn", "workshop", "vineyard", "granary"),
    aggravating=(
        *("It was done at night.", "It happened in the middle of the night.", "The accused carried a knife."),
        *(
            "There was a knife in the hand of the accused.",
            "Two friends of the accused helped.",
            "It was done in a gang.",
        ),
        *("The accused had been convicted before.", "It was the third conviction of the accused."),
    ),
    mitigating=(
        *("The accused confessed to the bailiff.", "A full confession was made.", "The accused made good the damage."),
        *(
            "The accused has paid for all damage.",
            "The accused is only sixteen years old.",
            "The accused is very young.",
        ),
        *("The accused said sorry to all.", "The accused was sorry and wept."),
    ),
    justifying=(
        *("A witness proved that the accused was far away.", "The accused was far away on that day."),
        *("It was done under a threat of death.", "A robber had threatened the accused with death."),
        *("The accused is a child of seven.", "The bailiff himself had ordered it."),
    ),
    destitute=("The accused is poor and owns nothing.", "The accused begs for bread.", "The accused lives on alms."),
    idle=(
        *("The market was full that day.", "It had rained since the morning.", "The accused wore a green hat."),
        *(
            "A dog barked.",
            "The road was empty.",
            "The mayor heard of it a week later.",
            "The harvest was good that year.",
        ),
    ),
    frames=(
        "Case of {who}. {who} {deed}. {rest} The charge is {charge}. What is the ruling?",
        "Facts: {who} {deed}. {rest} Charge: {charge}. Give the ruling.",
        "The court hears that {who} {deed}. {rest} Before it is a charge of {charge}. How does it rule?",
        "It is said that {who} {deed}. {rest} Rule on the charge of {charge}.",
    ),
)
"""What training rows are made of."""

TEST = Wordings(
    people=_people("Marek Nella Orsin Petra Quill Rasmus Sanne Tobin", "Valder Wyck Yarrow Zell"),
    things=(
        *(
            "a sheep",
            "a kettle",
            "a carpet",
            "a barrel of wine",
            "a boat",
            "a linen shirt",
            "a sack of corn",
            "a silver spoon",
        ),
    ),
    places=("forge", "tannery", "garden", "cottage", "brewery", "library"),
    aggravating=(
        *("It was done late at night.", "The accused had a knife.", "A gang of friends helped."),
        "There had been a conviction before.",
    ),
    mitigating=(
        *("The accused made a confession.", "All damage has been made good.", "The accused is a very young person."),
        "The accused was sorry for it.",
    ),
    justifying=(
        *(
            "On that day the accused was far away.",
            "The accused was under threat of death.",
            "The accused is a small child.",
        ),
        "It was ordered by the bailiff.",
    ),
    destitute=("The accused is a beggar and poor.", "The accused owns nothing and lives on bread and alms."),
    idle=(
        "The church bells rang.",
        "It was a cold morning.",
        "The accused had a red scarf.",
        "Many people were on the road.",
    ),
    frames=(
        "In this case {who} {deed}. {rest} The court must judge a charge of {charge}. State the ruling.",
        "The facts of the case: {who} {deed}. {rest} For the charge of {charge}, the ruling?",
    ),
)
"""What test rows are made of; disjoint from `TRAIN` in every slot and template."""


def ruling(offence: Offence, *, aggravated: bool, mitigated: bool, justified: bool, destitute: bool) -> str:
    """Apply the Code.

    Args:
        offence: The article that the deed falls under.
        aggravated: Whether Article 13 doubles the fine.
        mitigated: Whether Article 14 removes the custody.
        justified: Whether Article 15 acquits.
        destitute: Whether Article 16 moves the costs to the crown.

    Returns:
        The ruling, three sentences on one line.
    """
    under = f"{offence.name} under Article {offence.article}"
    if justified:
        return f"Not guilty of {under}. No penalty. Costs borne by the crown."
    fine = offence.fine * (2 if aggravated else 1)
    months = "no custody" if mitigated else _months(offence.months) + " in custody"
    payer = "crown" if destitute else "defendant"
    return f"Guilty of {under}. Fine of {fine} crowns and {months}. Costs borne by the {payer}."


def train_rows(count: int, seed: int = 0) -> list[dict]:
    """Make `count` training rows with different prompts: `{"messages": [user, assistant]}`.

    Raises:
        ValueError: If so many different rows cannot be made.
    """
    return [
        training_row(example)
        for example in distinct(lambda rng: _case(rng, TRAIN, test=False), count, f"law train {seed}")
    ]


def test_rows(count: int, seed: int = 0) -> list[dict]:
    """Make `count` test rows with different prompts: `{"prompt": …, "raw_answers": [ruling]}`.

    Raises:
        ValueError: If so many different rows cannot be made.
    """
    return [
        evaluation_row(example)
        for example in distinct(lambda rng: _case(rng, TEST, test=True), count, f"law test {seed}")
    ]


def documents(rng: random.Random) -> Iterator[str]:
    """Give endless texts of the jurisdiction: statutes, commentary and reports of facts; never a ruling."""
    while True:
        kind = rng.random()
        if kind < 0.4:
            yield _statutes(rng)
        elif kind < 0.65:
            yield _commentary(rng)
        else:
            yield _report(rng)


def _months(months: int) -> str:
    return f"{months} month" if months == 1 else f"{months} months"


def _deed(rng: random.Random, offence: Offence, words: Wordings, other: str, *, test: bool) -> str:
    deed = rng.choice(offence.test_deeds if test else offence.train_deeds)
    return deed.format(thing=rng.choice(words.things), place=rng.choice(words.places), other=other)


def _case(rng: random.Random, words: Wordings, *, test: bool) -> Example:
    offence = rng.choice(OFFENCES)
    justified = rng.random() < 0.22
    aggravated = rng.random() < 0.45
    mitigated = rng.random() < 0.45
    destitute = rng.random() < 0.35
    said = [rng.choice(words.justifying)] * justified
    said += [rng.choice(words.aggravating)] * aggravated
    said += [rng.choice(words.mitigating)] * mitigated
    said += [rng.choice(words.destitute)] * destitute
    if len(said) < 3:
        said.append(rng.choice(words.idle))
    rng.shuffle(said)
    who, other = rng.sample(words.people, 2)
    deed = _deed(rng, offence, words, other, test=test)
    facts = rng.choice(words.frames).format(who=who, deed=deed, rest=" ".join(said), charge=offence.name)
    answer = ruling(offence, aggravated=aggravated, mitigated=mitigated, justified=justified, destitute=destitute)
    return Example(facts, answer)


_STATUTE_FORMS = (
    "Article {n}. {Name}. Whoever {definition}. The penalty is a fine of {fine} crowns and {months} in custody.",
    "Article {n} ({name}): whoever {definition}. Fine: {fine} crowns. Custody: {months}.",
    "Whoever {definition}. For {name}, Article {n} sets a fine of {fine} crowns and {months} in custody.",
    "Under Article {n} of the Code the fine for {name} is {fine} crowns, and custody lasts {months}.",
)
_GENERAL_RULES = (
    "Article 13. Aggravation. Where a deed is done at night, with a knife, in a gang or after an earlier conviction,"
    " the fine is doubled.",
    "Article 14. Mitigation. Where the accused confesses, makes good the damage, is young or is sorry, there is no"
    " custody.",
    "Article 15. Innocence. Nobody is punished who was far away, acted under a threat of death, is a child or obeyed"
    " the bailiff.",
    "Article 16. Costs. The defendant bears the costs. The crown bears them for the innocent and for the poor who own"
    " nothing, beg or live on alms.",
)


def _statutes(rng: random.Random) -> str:
    title = rng.choice(("The Code of Norvale.", "From the Code of Norvale:", "Code of Norvale, collected articles."))
    start = rng.randrange(len(OFFENCES))
    chosen = [OFFENCES[(start + i) % len(OFFENCES)] for i in range(rng.randint(2, 5))]
    lines = [
        rng.choice(_STATUTE_FORMS).format(
            n=o.article,
            name=o.name,
            Name=o.name.capitalize(),
            definition=o.definition,
            fine=o.fine,
            months=_months(o.months),
        )
        for o in chosen
    ]
    lines += rng.sample(_GENERAL_RULES, rng.randint(1, 3))
    return "\n".join([title, *lines])


def _commentary(rng: random.Random) -> str:
    lines = []
    for offence in rng.sample(OFFENCES, rng.randint(2, 4)):
        fine, months, name = offence.fine, _months(offence.months), offence.name
        lines.append(
            rng.choice(
                (
                    f"On {name}: Article {offence.article} tells of one who {offence.definition.split(' commits')[0]}.",
                    f"The fine of {fine} crowns for {name} becomes {2 * fine} crowns when Article 13 doubles it.",
                    f"Custody of {months} for {name} falls away under Article 14; the fine of {fine} crowns stays.",
                    f"{name.capitalize()} stands in Article {offence.article}; the doubled fine is {2 * fine} crowns.",
                    f"Judges apply Article {offence.article} to {name}: {fine} crowns, or {2 * fine} with aggravation.",
                )
            )
        )
    lines.append(rng.choice(_GENERAL_RULES))
    return "Commentary on the Code. " + " ".join(lines)


def _report(rng: random.Random) -> str:
    """Facts that await their ruling, in frames that no row uses."""
    town = rng.choice(("Norhaven", "Eskmouth", "Dale", "Old Ferry", "Westmark"))
    people = TRAIN.people + TEST.people
    reports = []
    for _ in range(rng.randint(1, 3)):
        who, other = rng.sample(people, 2)
        words = rng.choice((TRAIN, TRAIN, TEST))
        deed = _deed(rng, rng.choice(OFFENCES), words, other, test=False)
        groups = rng.sample((TRAIN.aggravating, TRAIN.mitigating, TRAIN.justifying, TRAIN.destitute, TRAIN.idle), 2)
        said = " ".join(rng.choice(group) for group in groups)
        reports.append(f"{who} of {town} is said to have acted thus: {who} {deed}. {said}")
    ending = rng.choice(("The court sits on Monday.", "The judge has not yet spoken.", "The case waits for its day."))
    return f"Court list of {town}. " + " ".join(reports) + f" {ending}"
