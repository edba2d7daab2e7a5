"""Words, names and values that instructions are made of, of one pool at a time.

    noun(rng)          -> "ladder"                     everybody's
    copy_value(rng)    -> "Wesmer", "quanfin", 4131    made up, never met again
    code(rng)          -> "K37"

Ordinary English words and numbers below 100 are the language and belong to everybody; what is made up comes from
:mod:`esft_lightning.embedded.pools`. This file knows no instruction.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
import string
from collections.abc import Callable

from esft_lightning.embedded.pools import Pool, name, number, pool_of, word

__all__ = [
    "ADJECTIVES",
    "CLASSES",
    "COMMON",
    "NUMBERS",
    "VERBS",
    "WORDS",
    "code",
    "copy_value",
    "copy_word",
    "noun",
    "several",
]

WORDS = (
    "lamp river stone garden window bottle candle ladder bridge forest pencil basket mirror button carpet hammer "
    "kettle ribbon saddle tunnel wagon anchor blanket castle feather island jacket market orange pillow rabbit silver "
    "table village winter yellow apple bread cloud door engine field glass house iron knife leaf moon nest ocean paper "
    "queen road salt tree uncle voice wall year zebra ball cup dog egg fish goat hat ice"
).split()

COMMON = (
    "acorn actor adult afternoon agent airport alley almond ankle answer apron arch arm army arrow artist aunt "
    "autumn avenue baby back bacon badge bag balcony bamboo band bank bar barber bark barn barrel base bath battery "
    "bay beach bead beam bean beard beaver bee beef beetle belt bench bill bird birth biscuit blade block blood "
    "board body bone boot border boss bow bowl box boy brain branch brass breath brick bride broom brother brush "
    "bubble bucket bug building bullet bush butcher butter cabbage cabin cable cage cake calf camel camp canal "
    "canvas captain card care carrot case cash cat cattle cause cave ceiling cellar chain chalk chance change "
    "chapter charge chart cheek cheese chef chest chicken chief child chimney chin choice choir church cinema "
    "circle city class clay clerk cliff climate clock cloth club coach coal coast coconut coffee coin collar color "
    "column comb comet copper cord corn corner cost cotton couch country couple course court cousin cow crab crane "
    "cream creek crew crime crop cross crowd crown cube curtain curve cycle daisy dance danger date daughter dawn "
    "day deal debt deck deer degree dentist desert detail devil diamond diary dinner dish disk distance ditch "
    "doctor doll dollar dolphin doubt dough dove dragon drama dream dress driver drop duck dust eagle ear earth "
    "east edge effect elbow elephant energy entry error evening event exam exit eye fabric face fact factory family "
    "farm fashion father fault fee fence fever fiction fig film finger fire flag flame flavor floor flour flower "
    "fly fog food foot force fork fortune frame friend frog front fruit fuel fur future galaxy game garage garlic "
    "gas gate gear gem giant gift girl glove glue goal gold goose grain grandson grass gravity group guard guess "
    "guide guitar gym habit hair half hall hand handle harbor head heart heat height helmet hill hip hobby hole "
    "holiday home honey hood hook horizon horse hospital hotel hour hunter husband ink insect inside jail jar jaw "
    "jewel job joke judge juice jungle junior jury kid king kitchen kite kitten knee knot label labor lace lady "
    "lake lane laugh law lawyer lead leather lemon lens lesson letter level liar library lid life light limit line "
    "lion lip list liver load lobster lock logic lunch machine magnet maid mail man map marble march mark mask mass "
    "master match meal meat medal meter middle mile milk mind minute mirror model money monkey month mood mother "
    "motor mountain mouse mouth movie mud muscle museum music mustard nail name nation neck needle nephew nerve net "
    "news night noise noon north nose note novel nurse nut oak oil onion opera orbit organ origin oven owl owner ox "
    "package page pain pair palace palm panel parcel parent park parrot part party pass past path peak peanut pearl "
    "pepper person phone photo piano pig pilot pin pine pipe pirate pity place plan plane planet plant plastic "
    "plate play plot plum pocket poem poet point pole police pond pool port post potato pound powder power price "
    "prince prison prize proof pump pupil purse puzzle quarter question rain ramp range rat razor reader reason "
    "record region remark rent reply report rest result rhythm rice rifle ring rise rival robot rock rocket "
    "roof room root rope rose route row rubber rug ruler rumor sack sail sailor salad sand sauce scale scene school "
    "science scout screen screw sea seat secret seed shadow shame shape shark sheep sheet shell ship shoe shop "
    "shore shoulder sign silk singer sink sister size skill skin skirt sky sleep slope smile smoke snail snake soap "
    "soil soldier son song soup source south space spark speech speed spider spirit sponge spoon spring square "
    "stable staff stage stair stamp star state station steam steel stem step stick stomach storm story street "
    "string student sugar suit summer sun surface swan sweat swing sword table tail tailor talent target task taste "
    "tax tea teacher team tear temple tent term test theme thief thing thread throat throne thumb ticket tide tiger "
    "tile time tin tip title toast toe tomato tone tongue tooth tower town toy track trade trail trap tray trick "
    "trip troop trousers trunk trust tube tulip turtle twin type umbrella union unit valley value vase vehicle veil "
    "vessel view violin virus visit volcano vote voyage waist walnut war waste watch water wave wax way wealth "
    "wedding week weight west whale wheat wheel wife wing wire wish witch wolf woman wood wool word work world worm "
    "wound wrist writer yard yogurt youth zero zone"
).split()
"""Ordinary words to copy. So many, because copying is learned from tokens that differ: where a line repeats the same
few pieces, the token before does not tell what comes next."""

NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()

ADJECTIVES = (
    "old new red blue green small large heavy light round flat long short warm cold clean dark bright soft hard dry "
    "wet quiet loud early late empty full broken strong weak narrow wide deep rare plain"
).split()

VERBS = (
    "carry find open close lift paint count weigh move build wash fold cut mend send fetch hide show lend borrow trade "
    "measure sort store load drop push pull test draw"
).split()

CLASSES: dict[str, tuple[str, ...]] = {
    label: tuple(members.split())
    for label, members in {
        "animals": "dog horse goat rabbit hawk tortoise donkey falcon otter badger heron mouse",
        "tools": "hammer saw drill chisel wrench spade rake pliers axe file shears trowel",
        "fruits": "apple pear plum cherry lemon grape peach fig melon apricot berry orange",
        "vehicles": "wagon ferry bicycle train truck barge sled tram canoe lorry cart taxi",
        "clothes": "coat hat scarf glove shirt sock boot apron jacket belt cap shawl",
        "furniture": "chair table shelf bench stool cupboard desk bed drawer sofa chest rack",
        "instruments": "drum flute fiddle harp trumpet piano lute bell horn organ whistle banjo",
        "dishes": "plate bowl cup saucer jug pan kettle ladle fork spoon tray mug",
        "trees": "oak elm birch willow maple cedar pine beech poplar alder ash larch",
        "weather": "rain snow hail fog wind frost storm thunder drizzle sleet mist gale",
    }.items()
}
"""What kinds of things there are: label → its members."""


def noun(rng: random.Random) -> str:
    """An ordinary word."""
    return rng.choice(COMMON)


def copy_word(rng: random.Random, pool: Pool = "pretraining") -> str:
    """A word to be copied: known, or made up of syllables, so that copying cannot be learned word by word."""
    return noun(rng) if rng.random() < 0.6 else word(rng, pool)


def copy_value(rng: random.Random, pool: Pool = "pretraining") -> str:
    """Something to be copied: a word, a made-up name, a number, a time or a code."""
    kind = rng.randrange(10)
    if kind < 4:
        return noun(rng)
    if kind < 7:
        return word(rng, pool) if kind == 4 else name(rng, pool)
    if kind == 7:
        return str(number(rng, *rng.choice(((1, 99), (100, 999), (1000, 9999))), pool=pool))
    return f"{rng.randint(1, 12)}:{rng.randrange(60):02d}" if kind == 8 else code(rng, pool)


def code(rng: random.Random, pool: Pool = "pretraining") -> str:
    """A short code of a capital letter or two and digits or letters, of one pool."""
    letters = string.ascii_uppercase
    while True:
        head = "".join(rng.choices(letters, k=rng.choice((1, 1, 2))))
        tail = (
            "".join(rng.choices(string.digits, k=rng.choice((1, 2, 2)))) if rng.random() < 0.7 else rng.choice(letters)
        )
        if pool_of(made := head + tail) == pool:
            return made


def several(draw: Callable[[], str], count: int) -> list[str]:
    """`count` different values of `draw()`, in drawing order; `draw` must have clearly more than that to give."""
    values: dict[str, None] = {}
    while len(values) < count:
        values.setdefault(draw())
    return list(values)
