r"""Few-shot prompts: examples put before a question, and taken away again, first of all, where they exceed the context.

The authors' prompts hold their examples inside one user turn::

    User: {instruction} {x1}\n{cue} {y1}\n\n…\n\n{instruction} {x}\n{cue}\n\nAssistant:

Knows that shape; knows nothing of tasks or generation.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from esft_lightning.data.rows import DataError

HEAD, TAIL = "User: ", "\n\nAssistant:"
SHORTEST_INSTRUCTION = 4
"""Characters at the question's start that a piece must share to count as the start of an example."""


class FittedPrompt(NamedTuple):
    """A prompt that fits, how many examples it lost, and whether the question itself lost its head."""

    prompt: str
    dropped_examples: int
    cut_question: bool


def with_examples(prompt: str, examples: Sequence[tuple[str, str]]) -> str:
    """Put solved examples before a question, inside its user turn, as the paper's evaluation prompts have them.

    Args:
        prompt: A prompt with one question.
        examples: `(question, answer)` of training rows; a question ends in its cue where the task has one.
    """
    question = prompt.removeprefix(HEAD).removesuffix(TAIL)
    blocks = [f"{asked} {answered}" for asked, answered in examples]
    return HEAD + "\n\n".join([*blocks, question]) + TAIL


def split_examples(prompt: str) -> list[str]:
    """The blocks of a few-shot prompt: its examples in order and, last, the question.

    Blocks are separated by blank lines, and each opens with the question's instruction; a piece that does not continues
    the block before it (an example may itself hold a blank line). A prompt whose first piece does not is one block: a
    question.
    """
    body = prompt.removeprefix(HEAD).removesuffix(TAIL)
    pieces = body.split("\n\n")
    opening = pieces[-1][:SHORTEST_INSTRUCTION]
    if len(opening) < SHORTEST_INSTRUCTION or not pieces[0].startswith(opening):
        return [body]
    blocks: list[str] = []
    for piece in pieces:
        if piece.startswith(opening):
            blocks.append(piece)
        else:
            blocks[-1] += "\n\n" + piece
    return blocks


def fit_prompt(prompt: str, count: Callable[[str], int], max_prompt_tokens: int) -> FittedPrompt:
    r"""Shorten a prompt that has more than `max_prompt_tokens` tokens; leave another as it is.

    The fewest examples that must go are dropped, from the front: the last ones stand nearest to the question. A
    question that is too long alone keeps its tail, where its cue stands.

    Args:
        prompt: A prompt, few-shot or not.
        count: Tells how many tokens a prompt has, in the chat format that it is asked in.
        max_prompt_tokens: The most that fit.

    Raises:
        DataError: Not even a prompt without a question fits.
    """
    if count(prompt) <= max_prompt_tokens:
        return FittedPrompt(prompt, 0, False)
    blocks = split_examples(prompt)

    def without(dropped: int) -> str:
        return HEAD + "\n\n".join(blocks[dropped:]) + TAIL

    dropped = bisect_left(range(len(blocks)), True, key=lambda n: count(without(n)) <= max_prompt_tokens)
    if dropped < len(blocks):
        return FittedPrompt(without(dropped), dropped, False)
    question = blocks[-1]

    def tail(cut: int) -> str:
        return HEAD + question[cut:].lstrip() + TAIL

    cut = bisect_left(range(len(question)), True, key=lambda n: count(tail(n)) <= max_prompt_tokens)
    if cut == len(question):
        raise DataError(
            f"{max_prompt_tokens} tokens are left for an evaluation prompt, too few for any question; raise "
            "max_prompt_tokens, or lower max_new_tokens"
        )
    return FittedPrompt(tail(cut), len(blocks) - 1, True)
