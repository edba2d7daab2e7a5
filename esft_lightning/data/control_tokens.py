"""What a person wrote is text: `</s>` in a message never becomes the token that ends an answer.

Control tokens are the tokenizer's special tokens and, with a chat template, the added tokens by which turns end and
open. Text of the `esft` format is tokenized without them. A rendered template holds both kinds, so that somebody's are
marked before rendering (Transformers' `mark_control_tokens`) and told apart behind it. Where a tokenizer makes a
control token of plain text all the same, the row is refused by the token's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Literal

from esft_lightning.data.chat_template import MARKS, template_turn_end
from esft_lightning.data.rows import DataError

_MARKED = re.compile("\U000f0000.*?\U000f0001", re.DOTALL)


class ControlTokens:
    """The control tokens of a tokenizer in one chat format, and text in which they are only text.

    Attributes:
        names: Id → text of the tokens that no plain text may become.
    """

    def __init__(self, tokenizer: Any, chat_format: Literal["esft", "template"]) -> None:
        """Collect the tokens.

        Args:
            tokenizer: A `PreTrainedTokenizerBase`.
            chat_format: `esft` or `template`.

        Raises:
            DataError: `template`, and the tokenizer has none.
        """
        self._tokenizer = copy(tokenizer)
        self._tokenizer.split_special_tokens = False  # a tokenizer so set would take a template's own tokens for text
        self._rendered = chat_format == "template"
        names = special_tokens(tokenizer)
        if self._rendered:
            by_id = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}
            names |= {number: by_id[number] for number in template_turn_end(tokenizer).ids if number in by_id}
        longest_first = sorted(set(names.values()), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        unknown = tokenizer.unk_token_id  # what has no token of its own becomes it, and is no control token for that
        ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        self.names = {number: name for number, name in names.items() if number != unknown or number in ends}

    def mark(self, messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Messages for a template, their control tokens marked as text; as they are where nothing is rendered."""
        if not self._rendered:
            return messages
        from transformers.utils.chat_template_utils import mark_control_tokens

        return [{**m, "content": mark_control_tokens(m["content"], self._pattern)} for m in messages]

    def encode(self, texts: Sequence[str], origins: Iterable[str]) -> list[list[int]]:
        """Token ids of segments, each by itself; control tokens are those that the chat format wrote.

        Args:
            texts: Segments of marked conversations.
            origins: Where each was read, for the error message.

        Raises:
            DataError: The tokenizer cannot keep a text's control token apart.
        """
        if self._rendered:
            plain = [number for number, text in enumerate(texts) if not MARKS.search(text)]
            encoded: list[list[int]] = [[]] * len(texts)
            for number, ids in zip(plain, self._ids([texts[number] for number in plain]), strict=True):
                encoded[number] = ids
        else:
            encoded = plain_text_ids(texts, self._tokenizer)
        for number, (text, origin) in enumerate(zip(texts, origins, strict=True)):
            if self._rendered and MARKS.search(text):
                encoded[number] = self._encode_marked(text, origin)
            if not self.names.keys().isdisjoint(encoded[number]):
                self._check(text, encoded[number], origin)
        return encoded

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    def _encode_marked(self, text: str, origin: str) -> list[int]:
        from transformers.utils.chat_template_utils import encode_marked_chat

        try:
            return encode_marked_chat(self._tokenizer, text)
        except ValueError as error:
            raise self._refusal(_MARKED.findall(text)[0][1:-1], origin) from error

    def _check(self, text: str, ids: Sequence[int], origin: str) -> None:
        """Refuse a text that became more control tokens than the chat format wrote into it."""
        written = self._pattern.findall(_MARKED.sub("", text)) if self._rendered else []
        for name in [self.names[number] for number in ids if number in self.names]:
            if name not in written:
                raise self._refusal(name, origin)
            written.remove(name)

    def _refusal(self, name: str, origin: str) -> DataError:
        return DataError(
            f"{origin}: the text holds {name!r}, which this tokenizer reads as its control token and not as text; "
            "write it in another way, or take the row out"
        )


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Id → text of a tokenizer's special tokens, white space excepted."""
    named = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    special = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {n: t for n, t in {**dict(named), **special}.items() if n is not None and t.strip()}


def plain_text_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of texts in which no special token is recognized and to which none is added."""
    if not texts:
        return []
    return tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
