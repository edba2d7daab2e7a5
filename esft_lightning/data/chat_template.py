"""A tokenizer's own chat template: how it renders a conversation, and how it ends a turn. Knows no loss and no rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from esft_lightning.data.rows import DataError

MARKS = re.compile("[\U000f0000\U000f0001]")
"""What Transformers puts around a control token in somebody's text, so that it can be told from the template's."""
# Contents that no template holds itself, so that what stands around them is the template's.
_SYSTEM, _QUESTION, _ANSWER, _NEXT = "0system0", "0question0", "0answer0", "0next0"


class TurnEnd(NamedTuple):
    """Where an answer ends.

    Attributes:
        ids: The tokens with which the chat format ends an assistant's turn, or opens the one behind it.
        texts: What does the same where the format has no token for it: an answer ends before the first of these.
        trained: Whether training teaches an end: a format may put nothing behind an answer.
    """

    ids: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    trained: bool = True


def render(messages: Sequence[Mapping[str, Any]], tokenizer: Any, origin: str, *, add_generation_prompt: bool) -> str:
    """Render a conversation by the tokenizer's chat template; contents are stripped.

    Args:
        messages: `role` and `content` of each turn.
        tokenizer: Has the template.
        origin: Where the conversation was read, for the error message.
        add_generation_prompt: Open the assistant's turn behind the last message.

    Raises:
        DataError: There is no template, or it cannot render this conversation.
    """
    import jinja2

    if not tokenizer.chat_template:
        raise DataError("chat_format=template: this tokenizer has no chat template; use chat_format=esft")
    try:
        return tokenizer.apply_chat_template(
            [{"role": message["role"], "content": message["content"].strip()} for message in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    except jinja2.TemplateError as error:
        raise DataError(f"{origin}: the chat template refuses this conversation ({error})") from error


def same_start(rendered: str, longer: str, tokenizer: Any) -> int:
    """How many characters two renderings begin with alike, no added token of the tokenizer cut in two."""
    pairs = enumerate(zip(rendered, longer, strict=False))
    alike = next((n for n, (one, other) in pairs if one != other), min(len(rendered), len(longer)))
    for text in (rendered, longer):
        for token in _added(tokenizer):
            start = text.find(token, max(0, alike - len(token) + 1), alike + len(token) - 1)
            alike = start if 0 <= start < alike else alike
    return alike


def unmarked(rendered: str) -> str:
    """A rendered text without marks, as a reader shall see it."""
    return MARKS.sub("", rendered)


def template_turn_end(tokenizer: Any) -> TurnEnd:
    """How the tokenizer's template ends an assistant's turn, read off a conversation that it renders.

    The end is what stands behind an answer that is the last message, as in training; the opening is what a user's turn
    behind it begins with. Each counts by the tokenizer's added token in it where there is one, else as text.

    Raises:
        DataError: The tokenizer has no template, or it refuses a question with an answer.
    """
    turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
    try:
        rendered = render(turns, tokenizer, "chat template", add_generation_prompt=False)
    except DataError:  # some insist on a system message
        turns = [{"role": "system", "content": _SYSTEM}, *turns]
        rendered = render(turns, tokenizer, "chat template", add_generation_prompt=False)
    tail = rendered.rpartition(_ANSWER)[2] if _ANSWER in rendered else ""
    try:
        longer = render([*turns, {"role": "user", "content": _NEXT}], tokenizer, "", add_generation_prompt=True)
    except DataError:  # a template of one turn opens no other
        longer = ""
    between = longer.partition(_NEXT)[0].rpartition(_ANSWER)[2] if _ANSWER in longer else ""
    end, end_text = _first_mark(tail, tokenizer)
    opening, opening_text = _first_mark(between.removeprefix(tail), tokenizer)
    ids = [token for token in (end, None if opening_text else opening) if token is not None]
    texts = [_as_stop(text) for text in (end_text, opening_text) if _is_distinct(text)]
    return TurnEnd(tuple(dict.fromkeys(ids)), tuple(dict.fromkeys(texts)), trained=end is not None or bool(end_text))


def _first_mark(text: str, tokenizer: Any) -> tuple[int | None, str]:
    """The first added token in a piece of template, and the first line of text before it.

    Returns:
        Its id, None where there is no such token, and the text, empty where nothing but white space stands before it.
    """
    added = _added(tokenizer)
    places = [(place, -len(name), name) for name in added if (place := text.find(name)) >= 0]
    place, _, name = min(places, default=(len(text), 0, ""))
    lines = [line.strip() for line in text[:place].splitlines() if line.strip()]
    return added.get(name), lines[0] if lines else ""


def _added(tokenizer: Any) -> dict[str, int]:
    """A tokenizer's added tokens, white space excepted, and their ids."""
    special = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    return {name: number for name, number in {**tokenizer.get_added_vocab(), **dict(special)}.items() if name.strip()}


def _is_distinct(mark: str) -> bool:
    """Whether a mark is long enough to be no part of an answer, as a lone `>` or `#` may be."""
    return len(mark) > 2 or mark[:1].isalnum()


def _as_stop(mark: str) -> str:
    """A mark as a stop string: a plain word, such as `User:`, counts at the start of a line only."""
    return f"\n{mark}" if mark[0].isalnum() else mark
