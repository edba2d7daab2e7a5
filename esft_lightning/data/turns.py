"""Conversations under their makers' names → `messages` of `role`, `content` and, without loss, `mask`.

What is carried over, each as its convention says:

- turns of `from` and `value` (ShareGPT): `human` is the user, `gpt` the assistant;
- `system`, `system_prompt`, `system_message` of a row (LLaMA-Factory, OpenOrca): its first turn;
- `history` of a row (LLaMA-Factory): turns before its own, `[[question, answer], …]` or messages. Their answers are
  learned, as every assistant turn is;
- `weight` (OpenAI, FastChat), `train`, `training` (Axolotl), `loss` (ms-swift, XTuner), `loss_mask` and their like, of
  an assistant's message or of the whole row: 1 has loss, 0 has none. `mask`, `masked` (the authors, torchtune): 1 has
  none. There is no loss of a part.

What else stands beside a turn is refused or counted (see `row_keys`). Shapes that are no conversation are left as they
are: `rows.check_messages` names them.
"""

from collections import Counter
from collections.abc import Mapping, Set
from typing import Any

from esft_lightning.data.errors import DataError
from esft_lightning.data.row_keys import canonical, is_empty, message_bears_meaning, shown

_ROLE_OF = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant",
    "bard": "assistant", "model": "assistant", "assistant": "assistant", "system": "system",
}  # fmt: skip
_PLAIN = {"role", "content"}
SYSTEM_KEYS = ("system", "system_prompt", "system_message")
HISTORY_KEY = "history"
_LOSS = frozenset({
    "weight", "loss_weight", "loss_scale", "loss_mask", "loss", "train", "training", "trainable", "is_trainable",
    "train_on_turn", "compute_loss", "calculate_loss",
})  # fmt: skip
_NO_LOSS = frozenset({"mask", "masked", "is_masked", "mask_loss", "no_loss", "ignore_loss"})
_USUAL = {"channel": "final", "recipient": "all"}
"""Values that say of a message what is so without them."""
_ROW_LOSS = _LOSS | _NO_LOSS | {"sample_weight"}
_CARRIED = _ROW_LOSS | {*SYSTEM_KEYS, HISTORY_KEY}


def read_turns(turns: Any, origin: str) -> tuple[Any, Counter[str]]:
    """Bring turns into the form of `messages`.

    Returns:
        The turns, and how often each message key that is not used stands there, as `messages.KEY`.

    Raises:
        DataError: A turn holds a key that bears meaning and has no place, or loss marks that cannot be kept.
    """
    unused: Counter[str] = Counter()
    if not isinstance(turns, list):
        return turns, unused
    read = [
        turn
        if isinstance(turn, Mapping) and turn.keys() == _PLAIN
        else _turn(turn, f"{origin}: messages[{number}]", unused)
        for number, turn in enumerate(turns)
    ]
    return read, unused


def _turn(turn: Any, place: str, unused: Counter[str]) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    names = ("from", "value") if "from" in turn and not ({"role", "content"} & set(turn)) else ("role", "content")
    message = {name: turn[key] for name, key in zip(("role", "content"), names, strict=True) if key in turn}
    if names[0] == "from" and isinstance(turn["from"], str):
        message["role"] = _ROLE_OF.get(turn["from"].lower(), turn["from"])
    marks = {}
    for key, value in turn.items():
        if key in names or is_empty(value):
            continue
        if canonical(key) in _LOSS | _NO_LOSS:
            marks[key] = _has_loss(key, value, place)
        elif message_bears_meaning(key) and value is not False and value != _USUAL.get(canonical(key)):
            raise DataError(
                f"{place}: key {shown(key)!r} bears meaning that no chat format here can carry; "
                "remove it, or leave such rows out (on_bad_row=skip)"
            )
        else:
            unused[f"messages.{key}"] += 1
    if message.get("role") == "assistant":
        if len(set(marks.values())) > 1:
            raise DataError(f"{place}: {' and '.join(map(repr, marks))} contradict one another; keep one")
        if False in marks.values():
            message["mask"] = 1
    elif asked := [key for key, has_loss in marks.items() if has_loss and canonical(key) in _LOSS]:
        raise DataError(
            f"{place}: {asked[0]!r} asks for loss on a turn that is not the assistant's; only answers are learned: "
            "set it to 0 or remove it"
        )
    return message


def with_row_keys(record: Mapping[str, Any], turns: Any, used: Set[str], origin: str) -> tuple[Any, set[str]]:
    """Carry a row's system message, history and loss marks over into its turns.

    Args:
        record: The row as it was published.
        turns: Its turns, see `read_turns`.
        used: Keys that a mapping reads already or leaves out.
        origin: `file:line`, for errors.

    Returns:
        The turns, and the keys that were carried over.

    Raises:
        DataError: A key has another shape than its convention, or the row says two different things.
    """
    if not isinstance(turns, list):
        return turns, set()
    given = {
        key: value
        for key, value in record.items()
        if canonical(key) in _CARRIED and key not in used and not is_empty(value)
    }
    of_kind = {kind: [key for key in given if canonical(key) == kind] for kind in (HISTORY_KEY, *SYSTEM_KEYS)}
    for key in of_kind[HISTORY_KEY]:
        turns = _with_history(turns, given[key], f"{origin}: {key!r}")
    for key in (key for kind in SYSTEM_KEYS for key in of_kind[kind]):
        turns = _with_system(turns, given[key], f"{origin}: {key!r}")
    marks = {key: _has_loss(key, given[key], origin) for key in sorted(given) if canonical(key) in _ROW_LOSS}
    if len(set(marks.values())) > 1:
        raise DataError(f"{origin}: {' and '.join(map(repr, marks))} contradict one another; keep one")
    if False in marks.values():
        turns = [
            {**turn, "mask": 1} if isinstance(turn, Mapping) and turn.get("role") == "assistant" else turn
            for turn in turns
        ]
    return turns, set(given)


def _has_loss(key: str, value: Any, place: str) -> bool:
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise DataError(
            f"{place}: {key!r} is {shown(repr(value))}; expected 0 or 1, since an answer is learned or it is not: "
            f"change it, or leave a column out with column_mapping {{{key}: null}}"
        )
    return bool(value) != (canonical(key) in _NO_LOSS)


def _with_system(turns: list[Any], text: Any, place: str) -> list[Any]:
    if not isinstance(text, str):
        raise DataError(f"{place} is a {type(text).__name__}; expected the text of a system message")
    first = turns[0] if turns and isinstance(turns[0], Mapping) else {}
    if first.get("role") != "system":
        return [{"role": "system", "content": text}, *turns]
    if str(first.get("content")).strip() != text.strip():
        raise DataError(f"{place} differs from the system message that the row has already; keep one")
    return turns


def _with_history(turns: list[Any], history: Any, place: str) -> list[Any]:
    entries = history if isinstance(history, list | tuple) else [history]
    if all(isinstance(entry, Mapping) for entry in entries):
        before, unused = read_turns(list(entries), place)
        if unused:
            raise DataError(f"{place} holds messages with {next(iter(unused))!r}; expected role and content alone")
    elif all(isinstance(entry, list | tuple) and len(entry) == 2 for entry in entries):
        roles = ("user", "assistant")
        before = [{"role": role, "content": text} for entry in entries for role, text in zip(roles, entry, strict=True)]
    else:
        raise DataError(f"{place} is no list of [question, answer] pairs or of messages; write it as turns")
    system = [turn for turn in turns[:1] if isinstance(turn, Mapping) and turn.get("role") == "system"]
    own = turns[len(system) :]
    if [_said(turn) for turn in own[: len(before)]] == [_said(turn) for turn in before]:
        return turns  # they hold it already
    return [*system, *before, *own]


def _said(turn: Any) -> tuple[Any, Any]:
    return (turn.get("role"), turn.get("content")) if isinstance(turn, Mapping) else (None, turn)
