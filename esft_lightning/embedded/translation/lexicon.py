"""The words of Velm and its script, and which of them wait for validation and test.

The lexicon is in Latin letters (`LETTERS` gives the script), English = Velm. Pretraining reads all of it, word by word
(`reading`). Rows of all pools have two words in three in common; of the others, half stand in no rows but those of
validation and half in no rows but those of test (`kept_for`), so that these rows ask for words that nobody has seen in
a sentence with its translation.
"""

from functools import cache

from esft_lightning.embedded.pools import Pool

__all__ = [
    "ADJECTIVES",
    "BEINGS",
    "EATING",
    "FOODS",
    "HANDLING",
    "LETTERS",
    "MEETING",
    "MOVING",
    "NOUNS",
    "NUMBERS",
    "PLACES",
    "PRONOUNS",
    "THINGS",
    "TIMES",
    "VERBS",
    "choices",
    "kept_for",
    "script",
]

LETTERS = {letter: chr(0x1681 + i) for i, letter in enumerate("blvsnhdtcqmgxzraouei")}
"""Latin letter of the lexicon → letter of the script (U+1681 … U+1694, the Ogham block; words of nobody's language)."""

_SCRIPT = str.maketrans(LETTERS)


def script(word: str) -> str:
    """A word of the lexicon in Velm's own letters."""
    return word.translate(_SCRIPT)


def _words(pairs: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in pairs.split())


BEINGS = _words(
    "dog=sode cat=lacu horse=seme bird=vono fox=meza bear=lora child=buce woman=teze man=vulal king=heru hunter=tume "
    "farmer=daho friend=dazo mother=guhas teacher=lura singer=vahe sailor=laga baker=gumu girl=buban boy=sehun "
    "wolf=hodal goat=leboba hen=basa judge=sacor sister=mucor brother=cama uncle=ceru queen=huso thief=muce "
    "giant=nales miller=teba nurse=huzu"
)
"""Nouns that act, and that verbs of seeing and helping act upon."""

THINGS = _words(
    "stone=dudo rope=tece boat=gagu knife=zohe basket=mumus bell=gube lamp=nobu book=nugu coat=bana wheel=hehul "
    "net=dugu gate=tara drum=noho ring=hodo cup=nalu chair=nocol hat=geho door=bodo box=daru key=nehe candle=talu "
    "ladder=bugen hammer=hatul mirror=suvo saddle=tave blanket=vecu flute=gesor letter=satol coin=cumu spoon=cate "
    "wagon=tebor broom=lumar needle=halo pot=tenumu bottle=tenas"
)
"""Nouns that are carried, found and broken."""

FOODS = _words(
    "plum=bevos pear=mobe apple=numu bean=lulol cake=tabe pie=vusa egg=taga berry=samar nut=robe onion=beda "
    "carrot=tocas melon=caru lemon=sugo cookie=roro pumpkin=busoce"
)
"""Nouns that are eaten and cooked."""

PLACES = _words(
    "forest=bame river=dade village=gudur hill=tava field=gena lake=tade island=deze market=somu tower=lesen "
    "garden=dumun house=zena road=gara castle=hulon meadow=sema harbor=raga cellar=roto bridge=vave desert=ramegur"
)
"""Nouns that take the ending of place."""

ADJECTIVES = _words(
    "red=seba black=neva white=lale green=hural big=lama small=golo old=gede young=toto good=geve bad=vole "
    "happy=zegol sad=tusus strong=reso weak=suco quiet=zezo cold=naca poor=taco clever=nasul tall=ruvo lost=naho "
    "heavy=nono brave=teco lazy=bero proud=vove gentle=cabuge angry=sona hungry=cara"
)
"""Adjectives; they follow their noun."""

TIMES = _words(
    "yesterday=dota today=hade now=nuba always=tomur soon=cozu often=tozu again=lunu sometimes=bolas "
    "suddenly=vetar slowly=cuno once=dula quietly=resu"
)
"""Adverbs that open a sentence: of time, and of how."""

NUMBERS = _words("two=lele three=hamu four=dehur five=sulo six=cera seven=bahus many=nane few=gozu")
"""Number words; they follow their noun, which then takes the plural."""

PRONOUNS = _words("I=buno you=zovu he=nela she=vune we=valo they=meda")
"""Subjects without a noun."""

EATING = _words(
    "eat/ate=hozu cook/cooked=tema buy/bought=loha share/shared=gavo want/wanted=nezo taste/tasted=seven "
    "sell/sold=godas steal/stole=rozur"
)
"""Verbs with a food as object: English base form and past."""

HANDLING = _words(
    "carry/carried=vero find/found=vosu make/made=hare break/broke=munel hide/hid=zalo clean/cleaned=meso "
    "lose/lost=nove paint/painted=gabu throw/threw=sader hold/held=heta draw/drew=nunalo burn/burned=bono "
    "open/opened=gudo lift/lifted=tulur"
)
"""Verbs with a thing as object."""

MEETING = _words(
    "see/saw=maca help/helped=zazu follow/followed=sase love/loved=seda call/called=taso know/knew=cames "
    "hear/heard=hace meet/met=teve teach/taught=saluba fear/feared=nata greet/greeted=nobo wake/woke=navo"
)
"""Verbs with a being as object."""

MOVING = _words(
    "sleep/slept=zudu run/ran=desa sing/sang=huve swim/swam=vobo dance/danced=monal laugh/laughed=ceva "
    "work/worked=teden wait/waited=sole fall/fell=cone climb/climbed=hanar whistle/whistled=sele rest/rested=duzo "
    "shout/shouted=zodu tremble/trembled=gebagu"
)
"""Verbs without an object."""

NOUNS = BEINGS | THINGS | FOODS | PLACES
VERBS = EATING | HANDLING | MEETING | MOVING


@cache
def _kept() -> dict[str, Pool]:
    kept: dict[str, Pool] = {}
    for words in (BEINGS, THINGS, FOODS, PLACES, ADJECTIVES, EATING, HANDLING, MEETING, MOVING):
        for place, word in enumerate(words):
            if place % 6 == 5:
                kept[word] = "test"
            elif place % 6 == 2:
                kept[word] = "validation"
    return kept


def kept_for(word: str) -> Pool | None:
    """The pool whose rows alone have this word (English); None for the common words."""
    return _kept().get(word)


def choices(words: dict[str, str], pool: Pool, own: bool) -> tuple[str, ...]:
    """The words (English) that sentences of a pool take from a list.

    Args:
        words: A list of the lexicon.
        pool: `pretraining` takes all of them.
        own: Only those that are kept for the pool, where there are any; else the common ones alone.
    """
    if pool == "pretraining":
        return tuple(words)
    kept = tuple(word for word in words if kept_for(word) == pool) if own else ()
    return kept or tuple(word for word in words if kept_for(word) is None)
