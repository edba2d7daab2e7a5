"""Greedy generation in batches for any Transformers causal LM.

Prompts are sorted by length, so that a batch holds prompts of like length, and padded on the left with an attention
mask, so that every answer starts at the same column; the answers come back in the order of the prompts. Knows nothing
of tasks and of how answers are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from esft_lightning.errors import SettingError
from esft_lightning.evaluating import evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["generate", "left_padded", "prompt_ids"]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of ``text`` with exactly one begin token in front, where the tokenizer has one.

    Tokenizers differ in whether they add it; prompts of the ``esft`` chat format start with it.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportAssignmentType]
    bos: int | None = tokenizer.bos_token_id  # pyright: ignore[reportAssignmentType]
    return ids if bos is None or ids[:1] == [bos] else [bos, *ids]


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different length as one block.

    Args:
        rows: Token ids.
        pad: Id that fills the left side.

    Returns:
        ``input_ids`` and ``attention_mask``, both int64 [B, S]; the mask is 0 on the padding.
    """
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[number, width - len(row) :] = 1
    return ids, mask


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 96,
    batch_size: int = 32,
    progress: bool = False,
    stop: Sequence[str] = (),
    on_tokens: Callable[[int], object] = lambda count: None,
) -> list[str]:
    """Continue every prompt greedily until the end token or a stop string.

    The model is used as it is (device, dtype, adapters) and left in the mode, training or evaluation, it was in.

    Args:
        model: Any Transformers causal LM.
        tokenizer: Its tokenizer.
        prompts: Texts to continue, without special tokens.
        max_new_tokens: Longest answer in tokens.
        batch_size: Prompts generated together.
        progress: Show a progress bar.
        stop: An answer ends before the first of these.
        on_tokens: Told how many tokens each batch brought.

    Returns:
        The continuations in the order of ``prompts``, without special tokens.

    Raises:
        ValueError: A prompt and its answer would not fit into the model's positions, or there is no end token.
    """
    end: int | None = tokenizer.eos_token_id  # pyright: ignore[reportAssignmentType]
    if end is None:
        raise SettingError("generate: the tokenizer has no end token (eos_token); set one, or no answer can ever end")
    pad: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end  # pyright: ignore
    rows = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    room = getattr(model.config, "max_position_embeddings", None)
    for number, row in enumerate(rows):
        if room is not None and len(row) + max_new_tokens > room:
            raise SettingError(
                f"generate: prompt {number} has {len(row)} tokens, and {max_new_tokens} more do not fit into the "
                f"model's {room} positions; shorten the prompt or lower max_new_tokens"
            )
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if progress:
        from rich.progress import track

        batches = track(batches, description="generating", transient=True)
    answers = [""] * len(rows)
    with evaluating(model):
        for numbers in batches:
            ids, mask = left_padded([rows[number] for number in numbers], pad)
            made = model.generate(  # pyright: ignore[reportCallIssue] - its stub takes `generate` for a tensor
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=end,
                pad_token_id=pad,
                use_cache=True,
                **({"stop_strings": list(stop), "tokenizer": tokenizer} if stop else {}),
            )
            count = 0
            for number, row in zip(numbers, made[:, ids.shape[1] :].tolist(), strict=True):
                new = row[: row.index(end)] if end in row else row
                count += len(new)
                answers[number] = _before(str(tokenizer.decode(new, skip_special_tokens=True)), stop)
            on_tokens(count)
    return answers


def _before(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop string in it."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else text
