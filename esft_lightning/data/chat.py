r"""From a conversation to text segments with a loss mark. Knows formats; knows nothing of packing.

Format `esft` (the authors' and DeepSeek-V2's own)::

    BOS  {system}\n\n  User: {x}\n\nAssistant:  ␣{y} EOS  User: {x2}\n\nAssistant:  ␣{y2} EOS

- Contents are stripped. BOS stands once, at the start of the conversation; EOS ends every assistant turn.
- A system message comes first and is written bare, followed by a blank line.
- Loss falls on ` {y}` and its EOS, on EVERY assistant turn; never on BOS, system or user text. An assistant message
  with `"mask": 1` has none (the authors' key).
- Each segment is tokenised alone, so no token ever spans the border of prompt and answer.

Format `template`: the tokenizer's own `apply_chat_template`. A turn's loss text is what the rendered conversation gains
from `messages[:i]` + generation prompt to `messages[:i+1]`, its end-of-turn marker included.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from esft_lightning.data.rows import ChatRow, DataError

ChatFormat = Literal["esft", "template"]
FORMAT_VERSION = 1
"""Part of the cache key: raise it when a format changes."""


class Segment(NamedTuple):
    """A stretch of text, tokenised alone, with special ids put before and after it. `loss`: all of it has labels."""

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
        row: A checked conversation.
        tokenizer: Gives the special ids, and for `template` the chat template.
        chat_format: `esft` or `template`.

    Raises:
        DataError: The template cannot render this conversation.
    """
    return _esft(row, tokenizer) if chat_format == "esft" else _template(row, tokenizer)


def _esft(row: ChatRow, tokenizer: Any) -> list[Segment]:
    bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    parts: list[Segment] = []
    for message in row.messages:
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
    if not tokenizer.chat_template:
        raise DataError("chat_format=template: this tokenizer has no chat template; use chat_format=esft")
    parts: list[Segment] = []
    rendered = ""
    for number, message in enumerate(row.messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(row.messages[:number], tokenizer, row.origin, add_generation_prompt=True)
        whole = _render(row.messages[: number + 1], tokenizer, row.origin, add_generation_prompt=False)
        if not (prompt.startswith(rendered) and whole.startswith(prompt)):
            raise DataError(
                f"{row.origin}: messages[{number}]: this chat template rewrites earlier turns, so its answer cannot be "
                "told from its prompt; use chat_format=esft, or one turn a row"
            )
        parts.append(Segment(prompt[len(rendered) :], (), (), False))
        parts.append(Segment(whole[len(prompt) :], (), (), not message.get("mask")))
        rendered = whole
    return parts


def _render(messages: Sequence[dict[str, Any]], tokenizer: Any, origin: str, add_generation_prompt: bool) -> str:
    import jinja2

    try:
        return tokenizer.apply_chat_template(
            [{"role": m["role"], "content": m["content"].strip()} for m in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    except jinja2.TemplateError as error:
        raise DataError(f"{origin}: the chat template refuses this conversation ({error})") from error


def prompt_for(question: str, tokenizer: Any, chat_format: ChatFormat) -> str:
    r"""The evaluation prompt of a question, in `chat_format`, WITHOUT a leading BOS: generation puts it once.

    Args:
        question: Text of the user's turn, or already `User: …\n\nAssistant:` (the authors' evaluation files).
        tokenizer: For `template`.
        chat_format: `esft` or `template`.
    """
    question = question.strip()
    if question.startswith("User: ") and question.endswith("Assistant:"):
        question = question.removeprefix("User: ").removesuffix("Assistant:").strip()
    if chat_format == "esft":
        return user_text(question)
    message = {"role": "user", "content": question}
    return _render([message], tokenizer, "evaluation", add_generation_prompt=True).removeprefix(
        tokenizer.bos_token or ""
    )
