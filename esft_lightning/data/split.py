"""Which rows validate: a seeded share, and no conversation on both sides. Knows conversations, no tokens."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from esft_lightning.data.decontamination import same_text
from esft_lightning.data.rows import ChatRow

ConversationKey = tuple[tuple[str, str], ...]


def conversation_key(row: ChatRow) -> ConversationKey:
    """What rows have in common that are the same conversation: roles and texts, without case and spacing."""
    return tuple((message["role"], same_text(message["content"])) for message in row.messages)


def unlike(rows: Sequence[ChatRow], others: Sequence[ChatRow]) -> list[ChatRow]:
    """The rows that are no conversation of `others`."""
    known = {conversation_key(row) for row in others}
    return [row for row in rows if conversation_key(row) not in known]


def set_aside(rows: Sequence[ChatRow], fraction: float, seed: int) -> set[int]:
    """Draw the rows that validate, so that equal conversations all validate or all train.

    Rows are drawn one by one, each with its equals, as long as they fit into the share. In a file that repeats each of
    a few conversations none may fit; it then trains whole.

    Args:
        rows: All rows.
        fraction: Share of them to set aside; 0 for none. At least one row where there are two.
        seed: Decides which.

    Returns:
        Their numbers.
    """
    if not fraction or len(rows) < 2:
        return set()
    count = max(1, round(len(rows) * fraction))
    keys = [conversation_key(row) for row in rows]
    equals: defaultdict[ConversationKey, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        equals[key].append(number)
    aside: set[int] = set()
    for number in np.random.default_rng([seed, 3]).permutation(len(rows)).tolist():
        if number not in aside and len(aside) + len(equals[keys[number]]) <= count:
            aside.update(equals[keys[number]])
    return aside
