r"""From a conversation to text segments with a loss mark. Knows formats; knows nothing of packing.

Format `esft` (the authors' and DeepSeek-V2's own)::

    BOS  {system}\n\n  User: {x}\n\nAssistant:  ␣{y} EOS  User: {x2}\n\nAssistant:  ␣{y2} EOS

- Contents are stripped. BOS stands once, at the start of the conversation; EOS ends every assistant turn.
- A system message comes first and is written bare, followed by a blank line.
- Loss falls on ` {y}` and its EOS, on EVERY assistant turn; never on BOS, system or user text. An assistant message
  with `"mask": 1` has none (the authors' key).
- Each segment is tokenized alone, so no token ever spans the border of prompt and answer.

Format `template`: the tokenizer's own `apply_chat_template`. A turn's loss text is what the rendered conversation gains
from `messages[:i]` + generation prompt to `messages[:i+1]`, its end-of-turn marker included. What a template writes
behind the last answer alone (PhiMoE's EOS) is no part of an earlier one: a row is the conversation as rendered whole.

A prompt of an evaluation is a conversation without its answer and goes the same way, so that the ids of a training row
are those of its prompt and its answer, in every format.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from esft_lightning.data.chat_template import TurnEnd, render, same_start, template_turn_end, unmarked
from esft_lightning.data.rows import ChatRow, DataError

ChatFormat = Literal["esft", "template"]
FORMAT_VERSION = 2
"""Part of the cache key: raise it when a format changes."""
_HEAD, _TAIL = "User: ", "Assistant:"


class Segment(NamedTuple):
    """A stretch of text, tokenized alone, with special ids put before and after it. `loss`: all of it has labels."""

    text: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    loss: bool


def user_text(content: str) -> str:
    r"""`User: {x}\n\nAssistant:`, without a trailing space: the answer brings its own."""
    return f"User: {content.strip()}\n\nAssistant:"


def assistant_text(content: str) -> str:
    """` {y}`, with its leading space."""
    return f" {content.strip()}"


def segments(row: ChatRow, tokenizer: Any, chat_format: ChatFormat) -> list[Segment]:
    """Split one conversation into segments.

    Args:
        row: A checked conversation; where its last turn is a user's, the assistant's is opened behind it.
        tokenizer: Gives the special ids, and for `template` the chat template.
        chat_format: `esft` or `template`.

    Raises:
        DataError: The template cannot render this conversation, or no answer can be told from its prompt.
    """
    return _esft(row.messages, tokenizer) if chat_format == "esft" else _template(row, tokenizer)


def _esft(messages: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[Segment]:
    bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    parts: list[Segment] = []
    for message in messages:
        before = () if parts else bos
        if message["role"] == "assistant":
            text, after, loss = assistant_text(message["content"]), (tokenizer.eos_token_id,), not message.get("mask")
        elif message["role"] == "user":
            text, after, loss = user_text(message["content"]), (), False
        else:
            text, after, loss = f"{message['content'].strip()}\n\n", (), False
        parts.append(Segment(text, before, after, loss))
    return parts


def _template(row: ChatRow, tokenizer: Any) -> list[Segment]:
    messages, origin = row
    parts: list[Segment] = []
    rendered = ""
    for number in range(1, len(messages) + 1):
        answer = messages[number] if number < len(messages) else None
        if answer is not None and answer["role"] != "assistant":
            continue
        if answer is None and messages[-1]["role"] == "assistant":
            break
        prompt = render(messages[:number], tokenizer, origin, add_generation_prompt=True)
        if not prompt.startswith(rendered):
            opened = len(rendered) - len(parts[-1].text)
            earlier = messages[number - 2]["content"].strip()
            said = rendered.find(earlier, opened)
            kept = same_start(rendered, prompt, tokenizer)
            if said < 0 or kept < said + len(earlier):
                raise DataError(
                    f"{origin}: messages[{number - 2}]: this chat template renders an answer in another way once more "
                    "turns follow it, so that no row of several turns can train what it is asked in; use "
                    "chat_format=esft, or one turn a row"
                )
            rendered = rendered[:kept]
            parts[-1] = parts[-1]._replace(text=rendered[opened:])
        parts.append(Segment(prompt[len(rendered) :], (), (), False))
        if answer is not None:
            rendered = render(messages[: number + 1], tokenizer, origin, add_generation_prompt=False)
            if not rendered.startswith(prompt):
                raise DataError(_unlike(prompt, rendered, f"{origin}: messages[{number}]"))
            parts.append(Segment(rendered[len(prompt) :], (), (), not answer.get("mask")))
    return parts


def _unlike(prompt: str, rendered: str, place: str) -> str:
    """Why an answer does not continue its prompt."""
    alike = next((n for n, (one, other) in enumerate(zip(prompt, rendered, strict=False)) if one != other), None)
    opened = unmarked(prompt[alike if alike is not None else min(len(prompt), len(rendered)) :])
    if "<think>" in opened:
        return (
            f"{place}: this chat template opens the answer with {opened!r} when it asks, and leaves the thinking out "
            "of the answer that it renders, so that a row would be trained in another form than it is asked in; use "
            "chat_format=esft, or a tokenizer whose template does not think"
        )
    return (
        f"{place}: this chat template asks with {opened!r} at the end, with which the answer that it renders does not "
        "begin, so that its answer cannot be told from its prompt; use chat_format=esft"
    )


def question_of(prompt: str) -> str:
    r"""The user's text of an evaluation prompt, which may stand alone or as `User: …\n\nAssistant:` already."""
    prompt = prompt.strip()
    if prompt.startswith(_HEAD) and prompt.endswith(_TAIL):
        return prompt.removeprefix(_HEAD).removesuffix(_TAIL).strip()
    return prompt


def prompt_for(question: str, tokenizer: Any, chat_format: ChatFormat) -> str:
    r"""The text of a question's evaluation prompt in `chat_format`, without a leading BOS, for people to read.

    What a model is asked are the ids of `tokenization.encode_prompts`.

    Args:
        question: Text of the user's turn, or already `User: …\n\nAssistant:` (the authors' evaluation files).
        tokenizer: For `template`.
        chat_format: `esft` or `template`.
    """
    question = question_of(question)
    if chat_format == "esft":
        return user_text(question)
    message = {"role": "user", "content": question}
    prompt = render([message], tokenizer, "evaluation", add_generation_prompt=True)
    return prompt.removeprefix(tokenizer.bos_token or "")


def turn_end(tokenizer: Any, chat_format: ChatFormat) -> TurnEnd:
    """Where an answer in this chat format ends, as training teaches it, and what opens a turn behind it.

    Raises:
        DataError: `template`, and the tokenizer has no template, or one that refuses a question with an answer.
    """
    if chat_format == "template":
        return template_turn_end(tokenizer)
    ids = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    return TurnEnd(ids, (f"\n\n{_HEAD.strip()}", f"\n\n{_TAIL}"))
