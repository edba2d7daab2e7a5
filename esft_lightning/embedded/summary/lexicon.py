"""The desk's labels for faults, wishes and promises, shared by all pools, and the phrases for each, which are not.

Pretraining reads for all phrases which one means which label, in texts about words (`reading`); in calls every pool has
phrases of its own.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string

from esft_lightning.embedded.phrases import Phrases, read_phrases

__all__ = ["ACTIONS", "DAYS", "FAULTS", "NOUNS", "REMEDIES"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NOUNS = (
    "kettle toaster lamp chair table carpet blender radio phone printer camera mirror clock bicycle tent jacket desk "
    "shelf sofa fan heater fridge oven mixer drill ladder hose bucket rack bench speaker teapot guitar helmet scooter "
    "wardrobe freezer scanner"
).split()


FAULTS: Phrases = read_phrases(
    """
    late: was promised for last month; is not here after all these weeks / has not come yet; is still on its way; was due a week ago / has yet to arrive; keeps me waiting / never reached me so far; should have been here long ago
    broken: is in two halves; lost a leg on the first day / came in pieces; snapped in two; is cracked right through / fell apart at once; has a big crack / split in the middle; arrived smashed
    dirty: is black with soot; was delivered unwashed / is covered in dirt; came with stains on it; is full of dust / has grease all over; looks filthy / has mud on every side; is stained everywhere
    noisy: howls like the wind; clatters day and night / makes a loud noise; hums all night; rattles terribly / is loud like a drum; squeaks all the time / buzzes so that nobody sleeps; makes a noise like a mill
    leaking: wets the whole table; has a hole at the bottom / drips water; lets water out; leaves a puddle / is wet underneath; loses water / drips all over the floor; lets liquid run out
    mistaken: is green where it should be red; carries the name of another buyer / is not the one I chose; has the wrong color; has the wrong size / is another model than mine; is not what I ordered / differs from the one I chose; has the color of another order
    incomplete: stands there without its door; should have four wheels but has three / has a part missing; came without its screws; lacks the lid / was packed without the handle; misses a piece / has no cable with it; came without its cover
    overpriced: was twelve coins on the tag and twenty on the bill; cost me double / was charged twice; cost more than agreed; was billed too high / came with a bill that is too large; was dearer than named / was billed two times; has a price above the offer
    dead: gives no light and no sound; lies there like a stone / does not start; shows no sign of life; stays dark / will not switch on; does nothing at all / refuses to start; never runs when I press the button
    hot: glows after a minute; melted the cloth below / gets far too warm; burned my hand; smokes after a while / heats up like an oven; nearly caught fire / becomes too warm to touch; smells of burning
    slow: is still at it when I go to bed; moves like a turtle / takes forever; works at a crawl; needs an hour for a minute of work / lags all the time; is no faster than a snail / takes an hour for everything; crawls along
    sharp: tears every cloth; pricked the baby / cut my finger; has sharp edges; scratched the table / has a point that pricks; scrapes the skin / left a cut on my arm; has an edge like a knife
    """  # noqa: E501
)
"""What is wrong with a thing: what callers say after "it"."""

REMEDIES: Phrases = read_phrases(
    """
    refund: put the coins back in my purse; refund the sum / pay me back; give me my money back; return what I paid / transfer the sum back to me; repay me / hand back the money; let me have the money again
    exchange: let me choose a new piece; take this one and hand me the next / swap it; send another one instead; give me a new one / trade it for a fresh one; replace the thing / swap it for another; bring one that is new
    repair: put it in order; see to it that it runs / mend it; fix it; have someone put it right / get it working again; make it whole / send someone to fix it; patch it up
    discount: grant me a lower sum; cut the bill / take something off the price; lower the price; make it cheaper / reduce what I owe; give a rebate / knock a few coins off the price; let me pay less
    pickup: get it out of my sight; come with a cart for it / fetch it; take it away; collect it here / have it picked up; remove it from my house / come and take it along; send a driver for it
    apology: beg my pardon; write that you regret this / say sorry; write an apology; admit the fault / express regret; own up to it / say that you are sorry; admit that you were wrong
    manual: let me read how it is done; teach me its use / explain how to use it; send the manual; tell me how it works / walk me through it; provide directions / show me how to use it; explain the steps
    parts: hand me the bit that was left out; find the lost screw for me / send the missing piece; post me a spare part; deliver the rest / supply what is lacking; mail the screw / get me the missing part; ship the piece that I need
    cancel: tear up the contract; let us say I never bought it / cancel the order; call the whole thing off; strike it from the books / drop the purchase; annul it / undo the order; take the order off the books
    upgrade: allow me the next size; make mine the strong one / give me the larger one; let me have the better model; move me up a class / offer the finer version; provide the stronger type / let me have the largest model; give me a better class
    """  # noqa: E501
)
"""What the caller wants: what follows "please"."""

ACTIONS: Phrases = read_phrases(
    """
    call back: reach you by telephone; let the phone ring at your place / ring you up later; phone you again; give you a call / dial your number tonight; be on the phone with you soon / phone you tomorrow; ring your number again
    send a form: have a paper sent for you to sign; give you three pages to fill in / mail you a form; post you the papers; send a sheet to fill in / let you have a questionnaire; dispatch the paperwork / put a form in the post; send the papers to sign
    ask the manager: see what the chief says; leave it to the head / talk to the manager; ask my boss; check with the head of the desk / consult my superior; raise it with the chief / talk to the one in charge; let my boss decide
    open a ticket: make a new entry for this; write up a case / open a ticket; put in a ticket; file a case / log it in the system; start a record / enter a case; give it a ticket number
    visit: knock at your door; travel to you / come by your house; drop in at your place; pay you a visit / stop at your door; see you at home / be at your house in person; drop in at your home
    ask for a picture: beg you for an image; look at a picture of it / ask you for a photo; wait for a picture of it; need an image of it / request a snapshot; watch for the photograph / want a photo from you first; ask to see a picture
    add a voucher: credit a coupon; thank you with a gift card / give you a voucher; put a coupon in your account; add a gift card / grant a credit note; send a token for the shop / leave a voucher for you; put a gift coupon in the mail
    check the stock: count the boxes in the cellar; see if one is left / look whether we have one; check the shelves; see what the store holds / count what is in stock; search the warehouse / find out if the store has any; look at the shelves
    ship today: give it to the driver this minute; let it leave before night / post it today; hand it to the carrier now; ship it at once / get it on the road this hour; pack it right away / bring it to the post at once; hand the parcel over today
    close the case: draw a line under it; leave it at that / mark it as done; close the case; strike it off / consider it settled; shut the file / put an end to the case; mark the case as finished
    """  # noqa: E501
)
"""What the agent promises: what follows "I will"."""
