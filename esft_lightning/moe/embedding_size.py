"""A tokenizer against a model's embeddings: an id without a row is refused before anything reads it."""

from __future__ import annotations

from typing import Any

from esft_lightning.errors import UserError


class TokenizerError(UserError, ValueError):
    """A tokenizer has tokens that a model has no embedding for."""


def check_embeddings(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer with ids beyond a model's embeddings; a model may have more rows than that.

    Args:
        model: A Transformers causal LM.
        tokenizer: What its rows and prompts are tokenised by, added tokens included.

    Raises:
        TokenizerError: An id has no row in the input embeddings, or in those of the head.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    rows = min(int(end.weight.shape[0]) for end in ends if getattr(end, "weight", None) is not None)
    vocabulary = tokenizer.get_vocab()
    tokens = max(vocabulary.values(), default=-1) + 1
    if tokens > rows:
        first = min((number, token) for token, number in vocabulary.items() if number >= rows)[1]
        raise TokenizerError(
            f"the tokenizer has {tokens:,} tokens, the model {rows:,} embeddings: {first!r} has none; take the model's "
            "own tokenizer, or save the model after model.resize_token_embeddings(len(tokenizer))"
        )
