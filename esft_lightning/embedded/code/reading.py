"""What pretraining reads of Python: functions with docstrings, sessions, scripts, tests, and requests in other words.

Single operations are everybody's; composed ones are of the pretraining pool (`specifications.body_pool`).
"""

import random
from collections.abc import Iterator

from esft_lightning.embedded.code.specifications import ARGUMENTS, KINDS, LAYOUTS, Specification, single, specification
from esft_lightning.embedded.code.trials import calls, short_input
from esft_lightning.embedded.pools import name, word

__all__ = ["chats", "documents"]

_SINGLE_SHARE = 0.65


def _drawn(rng: random.Random) -> tuple[Specification, str, str]:
    """A specification, the name of its function and of its argument."""
    spec = single(rng) if rng.random() < _SINGLE_SHARE else specification(rng, "pretraining")
    return spec, word(rng), rng.choice(ARGUMENTS[spec.kind]["pretraining"])


def _called(rng: random.Random, spec: Specification, function: str, argument: str) -> list[tuple[str, str]]:
    inputs = [short_input(spec.kind, rng) for _ in range(rng.randint(1, 3))]
    return calls(function, spec.function(function, argument), inputs)


def chats(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield endless (user, assistant) pairs: functions to write, to call, and to put into words."""
    while True:
        spec, function, argument = _drawn(rng)
        what, code = spec.what(argument), spec.function(function, argument)
        kind = rng.random()
        if kind < 0.6:
            layout = rng.choice(LAYOUTS["pretraining"])
            asked = layout.format(name=function, arg=argument, kind=KINDS[spec.kind], what=what)
            if rng.random() < 0.5:
                head, body = code.split("\n")
                code = f'{head}\n    """{what[0].upper()}{what[1:]}."""\n{body}'
            yield asked, code
        elif kind < 0.8:
            call, result = _called(rng, spec, function, argument)[0]
            yield f"{code}\n\nWhat does {call} give?", result
        else:
            yield f"What does this return?\n{code}", f"It returns {what}."


def _documented(rng: random.Random) -> str:
    spec, function, argument = _drawn(rng)
    head, body = spec.function(function, argument).split("\n")
    return f'{head}\n    """Return {spec.what(argument)}."""\n{body}\n'


def _session(rng: random.Random) -> str:
    spec, function, argument = _drawn(rng)
    code = spec.function(function, argument)
    return f"{code}\n\n" + "".join(f">>> {call}\n{result}\n" for call, result in _called(rng, spec, function, argument))


def _tested(rng: random.Random) -> str:
    spec, function, argument = _drawn(rng)
    code = spec.function(function, argument)
    return f"{code}\n\n" + "".join(
        f"assert {call} == {result}\n" for call, result in _called(rng, spec, function, argument)
    )


def _script(rng: random.Random) -> str:
    spec, _, argument = _drawn(rng)
    drawn = short_input(spec.kind, rng)
    return f"# by {name(rng)}: {spec.what(argument)}\n{argument} = {drawn!r}\nprint({spec.returned(argument)})\n"


def _in_steps(rng: random.Random) -> str:
    """A function whose value has a name first, and a loop that calls it."""
    spec, function, argument = _drawn(rng)
    result, drawn = word(rng), [short_input(spec.kind, rng) for _ in range(rng.randint(2, 3))]
    return (
        f"def {function}({argument}):\n    {result} = {spec.returned(argument)}\n    return {result}\n\n"
        f"for {argument} in {drawn!r}:\n    print({function}({argument}))\n"
    )


_KINDS = (_documented, _session, _tested, _script, _in_steps)


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts, each of one to five pieces."""
    while True:
        yield "\n".join(rng.choice(_KINDS)(rng) for _ in range(rng.choice((1, 1, 2, 3, 4, 5)))).rstrip("\n")
