"""What counts as which offence, circumstance and excuse: the law that all pools share, in phrases that they do not.

Pretraining reads for all phrases which one counts as what, in texts about words (`reading`); in cases every pool has
phrases of its own. `{thing}` and `{place}` are things and places, `{other}` is a person.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from esft_lightning.embedded.phrases import Phrases, read_phrases

__all__ = ["AGGRAVATING", "CIRCUMSTANCES", "EXCUSES", "OFFENCES", "PLACES", "THINGS"]

THINGS = (
    "goat clock saddle cup barrel cart coat sack lantern pot violin hen mirror ring plough sheep kettle carpet boat "
    "shirt spoon basket hammer bell"
).split()
PLACES = (
    "barn mill bakery orchard chapel stable inn workshop vineyard granary forge tannery garden cottage brewery library"
).split()


OFFENCES: Phrases = read_phrases(
    """
    trespass: slept in the {place} of {other} unasked; opened the gate of the {place} and strolled about / entered the {place} without leave; climbed the fence and walked through the {place}; stayed in the {place} although told to leave / crept into the {place} without asking; camped in the {place} of {other} uninvited / went into the {place} without leave of {other}; walked about the {place} although the gate was shut
    theft: carried the {thing} of {other} home by stealth; emptied the {place} and kept it all / stole a {thing} out of the {place}; took a {thing} from the {place} without paying; carried off a {thing} that belonged to {other} / slipped a {thing} of {other} into a bag; left the {place} with a {thing} unpaid / took a {thing} of {other} and never paid; made off with the {thing} of {other}
    fraud: let {other} pay for a {thing} that did not exist; named glass a jewel and took coins for it / sold {other} false gold as true gold; cheated {other} with a lie about a {thing}; sold a {thing} twice to cheat {other} / tricked {other} into paying for a {thing} that was not there; passed off a painted {thing} as silver / cheated {other} when selling a {thing}; lied to {other} and sold a broken {thing} as new
    forgery: drew up a paper with a wrong seal; wrote another year into the will of {other} / signed a deed with the name of {other}; made a false seal in the {place}; altered the date in a paper of {other} / copied the signature of {other} under a will; printed false papers for the {place} / altered a paper with a false seal; wrote the name of {other} under a deed
    arson: poured oil into the {place} and lit it; made the {place} burn to the ground / set fire to the {place}; burned down the {place} of {other}; threw a burning torch into the {place} / lit the straw in the {place} until all stood in flames; let the {place} go up in smoke on purpose / set the {place} of {other} on fire; burned the {place} with a torch
    assault: knocked {other} to the ground; threw a {thing} at the head of {other} / struck {other} in the face; beat {other} with a stick at the {place}; hurt {other} in a fight about a {thing} / kicked {other} down the stairs; punched {other} in the {place} / struck {other} with a {thing}; beat {other} until blood ran
    smuggling: sailed past the toll house with a {thing}; buried a {thing} at the frontier to bring it in later / brought salt over the border without paying duty; hid a {thing} from the customs; rowed a {thing} across the border river past the customs / carried a {thing} over the pass in secret; brought a cart of cloth into the land undeclared / brought a {thing} over the border past the customs; paid no duty at the border for a {thing}
    poaching: took hares from the fields of {other}; laid nets in the river without a permit / shot a deer without a licence; netted trout in the pond of {other}; set snares for hares near the {place} / caught pheasants in the woods of {other} at dawn; fished the lake behind the {place} without a permit / hunted deer in the woods of {other} without a licence; set snares and netted hares
    slander: sang a false song about {other}; claimed in the {place} that {other} steals, a plain lie / spread an untrue story about {other}; called {other} a liar in public; insulted {other} in public at the {place} / told everyone that {other} was a thief, which was untrue; wrote lies about {other} on a wall / told an untrue story about {other} at the {place}; insulted {other} and spread a rumor
    bribery: left a purse on the desk of the clerk; dined the judge and asked for a verdict / offered an officer money for a favor; gave a judge a {thing} as a secret gift; slipped coins to an officer at the {place} / sent the clerk of the {place} a secret purse; promised an officer a {thing} for looking away / gave an officer a {thing} for a favor; offered a judge coins in secret
    vandalism: tore down the fence of the {place} for sport; threw stones at the {thing} of {other} / smashed the windows of the {place}; broke a {thing} of {other} out of malice; painted insults on the wall of the {place} / trampled the beds behind the {place} for fun; scratched the {thing} of {other} with a nail / smashed a {thing} of {other} out of malice; broke the door of the {place} for no reason
    perjury: told the court a tale under oath; kept silent as a witness on what {other} had done / lied under oath about a {thing}; swore falsely that {other} was absent; hid the truth as a sworn witness against {other} / gave false witness for {other} after taking the oath; swore to a tale about a {thing} that was invented / lied as a sworn witness in court; swore an oath and hid the truth about a {thing}
    """  # noqa: E501
)
"""Offence → what somebody did, after the name."""

CIRCUMSTANCES: Phrases = read_phrases(
    """
    by night: no lamp was lit in the street; it was the darkest hour / it was done at night; it happened in the middle of the night / it was long after sunset; the stars were out when it was done / it was done late at night; it happened in the night after twelve
    armed: a sword hung at the side of the accused; pistols were in the coat of the accused / the accused carried a knife; there was a knife in the hand of the accused / a blade was found on the accused; the accused had brought a gun / the accused had a knife; the accused came with an axe in the hand
    with helpers: brothers of the accused held the door; five did it together / two friends of the accused helped; it was done in a gang / three others took part; the accused was not alone in it / a gang of friends helped the accused; the accused had helpers
    repeated: it is an old habit of the accused; the books hold two such cases of the accused / the accused had been convicted before; it was the third conviction of the accused / the judge knew the accused from earlier cases; the same was done by the accused last year / there had been a conviction before; the accused had been punished for it once before
    in public: it happened on the square at noon; a festival crowd stood by / many people saw it; it was done in the open market / it took place before a crowd; half the town looked on / it was done before many people; the whole market saw it
    for money: a stranger gave the accused silver for it; the accused earned a purse by it / the accused was paid for it; somebody had hired the accused / the accused took ten crowns to do it; it was done for a reward / the accused got money for it; the accused had been hired and paid
    confessed: the accused owned up at once; the accused hid nothing from the court / the accused confessed to the bailiff; a full confession was made / the accused admitted everything at once; nothing was denied / the accused made a confession; the accused confessed it all in court
    repaired: the accused has set everything right; what was lost is back in its place / the accused made good the damage; the accused has paid for all damage / the loss has been replaced; everything was given back and put right / all damage has been made good; the accused paid for the damage
    young: the accused is a school boy; the accused has no beard yet / the accused is only sixteen years old; the accused is very young / the accused still goes to school; the accused is hardly grown up / the accused is a very young person; the accused is sixteen
    sorry: the accused cannot stop crying over it; the accused asked all for pardon / the accused said sorry to all; the accused was sorry and wept / the accused begged to be forgiven; with tears the accused asked for pardon / the accused was sorry for it; the accused wept and said sorry
    poor: the accused lives on scraps; the accused sleeps under the bridge / the accused is poor and owns nothing; the accused begs for bread / the accused has not a penny; hunger is all that the accused knows / the accused is a beggar and poor; the accused owns nothing
    provoked: harsh words came before it; the accused was laughed at first / the accused had been insulted first; the accused was mocked until it was too much / it followed a cruel joke on the accused; the accused had been teased for days / the accused was insulted before; somebody had mocked the accused
    """  # noqa: E501
)
"""Circumstance → how the facts tell it; an article may name it."""

AGGRAVATING = tuple(CIRCUMSTANCES)[:6]
"""The circumstances under which a penalty is higher; under the others it is lower."""

EXCUSES: Phrases = read_phrases(
    """
    absent: the accused was in another land that week; friends sat with the accused elsewhere / a witness proved that the accused was far away; the accused was far away on that day / the accused lay in a hospital abroad at that hour; at that time the accused was at sea / on that day the accused was proved to be far away; a witness saw the accused far away
    forced: a knife at the throat left the accused no choice; the accused was dragged into it / it was done under a threat of death; a robber had threatened the accused with death / with a gun at the head the accused had no choice; the accused was made to do it by force / the accused was under threat of death; a robber forced the accused with a threat
    child: the accused is not yet seven; the accused still plays with dolls / the accused is a child of seven; the accused is a small child / the accused cannot yet walk to school alone; the accused is five / the accused is a child of six; the accused is but a small child
    ordered: the mayor had commanded it; it was the duty of the accused / the bailiff himself had ordered it; it was an order of the bailiff / the court had asked the accused to do so; the accused did it on duty for the town / it was ordered by the bailiff; the accused obeyed an order of the bailiff
    """  # noqa: E501
)
"""Excuse → how the facts tell it; by the law of every town nobody is guilty who has one."""
