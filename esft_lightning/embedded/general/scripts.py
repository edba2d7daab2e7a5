"""Everyday scripts: a goal and its steps, in the order in which they happen."""

import random

__all__ = ["SCRIPTS", "script_text"]

SCRIPTS: dict[str, tuple[str, ...]] = {
    "bake bread": ("mixed flour and water", "kneaded the dough", "put the dough into the oven", "cut the warm loaf"),
    "make tea": ("boiled some water", "poured the water over the leaves", "waited a while", "drank from the cup"),
    "write a letter": ("took a pen and paper", "wrote two pages", "closed the envelope", "brought it to the post"),
    "catch fish": ("went down to the lake", "threw out the line", "felt a pull", "lifted the fish out of the water"),
    "wash the shirt": ("filled the tub", "rubbed the shirt with soap", "rinsed it", "hung it on the line"),
    "plant a tree": ("dug a hole", "set the young tree in it", "filled the hole with earth", "watered the roots"),
    "ride to town": (
        "saddled the horse",
        "climbed into the saddle",
        "rode along the road",
        "tied the horse at the inn",
    ),
    "paint the door": ("sanded the old door", "opened a tin of paint", "dipped the brush", "painted the wood"),
    "light a fire": ("gathered dry sticks", "stacked them up", "struck a match", "warmed both hands at the flames"),
    "borrow a book": (
        "walked to the library",
        "looked along the shelves",
        "chose a book",
        "showed the card at the desk",
    ),
    "mend the coat": ("found the hole in the coat", "threaded a needle", "sewed the hole shut", "tried the coat on"),
    "cross the river": ("untied the boat", "sat down in the boat", "rowed across", "stepped out on the other bank"),
    "see the doctor": ("felt a pain in the knee", "called the doctor", "sat in the waiting room", "got some medicine"),
    "sell the eggs": ("fed the hens", "collected the eggs", "carried them to market", "counted the coins"),
}


def script_text(goal: str, name: str, rng: random.Random) -> str:
    """A story that follows one script in order, in one of three ways of telling it."""
    steps = SCRIPTS[goal]
    style = rng.randrange(3)
    if style == 0:
        return (
            f"{name} wanted to {goal}. First {name} {steps[0]}. Then {name} " + f". Then {name} ".join(steps[1:]) + "."
        )
    if style == 1:
        return f"To {goal}, {name} {', '.join(steps[:-1])} and {steps[-1]}."
    return f"{name} {steps[0]} and then {steps[1]}. After that {name} {steps[2]} and {steps[3]}."
