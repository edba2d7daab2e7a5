"""Greedy generation in batches for any Transformers causal LM.

Prompts are sorted by length, so that a batch holds prompts of like length, and padded on the left with an attention
mask, so that every answer starts at the same column; the answers come back in the order of the prompts. An answer ends
where the model's turn ends: at the tokens by which the model itself and the chat format end it, and where the chat
format opens the next turn. What else a checkpoint's generation configuration asks for is set aside (`greedy`). Knows
nothing of tasks and of how answers are scored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from esft_lightning.data.chat_template import TurnEnd
from esft_lightning.data.control_tokens import plain_text_ids, special_tokens
from esft_lightning.errors import UserError
from esft_lightning.evaluation.greedy import decoding_greedily
from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.rounded_copies import copies_kept

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["end_tokens", "generate", "left_padded", "prompt_ids"]

log = logging.getLogger(__name__)
NO_FORMAT = TurnEnd()
"""Text in no chat format: the model's own end tokens alone end it."""


class GenerationError(UserError, ValueError):
    """A prompt cannot be answered; the message says which setting is in the way."""


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of ``text`` with exactly one begin token in front, where the tokenizer has one.

    Tokenizers differ in whether they add it; prompts of the ``esft`` chat format start with it. Any other special token
    in the text is text; what a chat template rendered is to be given to `generate` as ids.
    """
    bos: int | None = tokenizer.bos_token_id  # pyright: ignore[reportAssignmentType]
    if bos is not None:
        text = text.removeprefix(str(tokenizer.bos_token))
    if held := [name for name in special_tokens(tokenizer).values() if name in text]:
        log.warning("a prompt holds %r as text; where a chat template wrote it, give the prompt as token ids", held[0])
    (ids,) = plain_text_ids([text], tokenizer)
    return ids if bos is None else [bos, *ids]


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, turn_end: TurnEnd = NO_FORMAT) -> list[int]:
    """The tokens that end an answer: the tokenizer's, the model's own list of them, and the chat format's.

    Args:
        model: Its generation configuration and its configuration may each name one token or several.
        tokenizer: Names one.
        turn_end: How the chat format ends a turn.

    Raises:
        GenerationError: Nobody names any.
    """
    ends: list[int] = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]  # pyright: ignore
    for owner in (model.generation_config, model.config, model.config.get_text_config()):
        named: Any = getattr(owner, "eos_token_id", None)
        ends += [named] if isinstance(named, int) else list(named or ())
    ends = list(dict.fromkeys([*ends, *turn_end.ids]))
    if not ends:
        raise GenerationError(
            "generate: the tokenizer has no end token (eos_token); set one, or no answer can ever end"
        )
    return ends


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
    prompts: Sequence[str | Sequence[int]],
    *,
    max_new_tokens: int = 96,
    batch_size: int = 32,
    progress: bool = False,
    stop: Sequence[str] = (),
    turn_end: TurnEnd = NO_FORMAT,
    on_tokens: Callable[[int], object] = lambda count: None,
) -> list[str]:
    """Continue every prompt greedily until the model's turn ends.

    The model is used as it is (device, dtype, adapters) and left in the mode, training or evaluation, it was in.

    Args:
        model: Any Transformers causal LM.
        tokenizer: Its tokenizer.
        prompts: Texts to continue, without special tokens, or token ids to continue as they are.
        max_new_tokens: Longest answer in tokens.
        batch_size: Prompts generated together.
        progress: Show a progress bar.
        stop: An answer ends before the first of these, besides where the turn ends.
        turn_end: How the chat format of the prompts ends a turn and opens the next.
        on_tokens: Told how many tokens each batch brought.

    Returns:
        The continuations in the order of ``prompts``, without special tokens.

    Raises:
        GenerationError: A prompt and its answer would not fit into the model's positions, or there is no end token.
    """
    ends = end_tokens(model, tokenizer, turn_end)
    ends += [token for token, name in special_tokens(tokenizer).items() if name in stop and token not in ends]
    pad: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]  # pyright: ignore
    stops = tuple(dict.fromkeys([*stop, *turn_end.texts]))
    rows = [prompt_ids(tokenizer, prompt) if isinstance(prompt, str) else list(prompt) for prompt in prompts]
    config: Any = model.config
    room = getattr(config.get_text_config(), "max_position_embeddings", None)
    for number, row in enumerate(rows):
        if room is not None and len(row) + max_new_tokens > room:
            raise GenerationError(
                f"generate: prompt {number} has {len(row)} tokens, and {max_new_tokens} more do not fit into the "
                f"model's {room} positions; shorten the prompt (max_prompt_tokens) or lower max_new_tokens"
            )
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if progress:
        from rich.progress import track

        batches = track(batches, description="generating", transient=True)
    answers = [""] * len(rows)
    with evaluating(model), copies_kept(), decoding_greedily(model, ends):
        for numbers in batches:
            ids, mask = left_padded([rows[number] for number in numbers], pad)
            made = model.generate(  # pyright: ignore[reportCallIssue] - its stub takes `generate` for a tensor
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad,
                use_cache=True,
                stopping_criteria=StoppingCriteriaList([_Stops(tokenizer, stops, ids.shape[1])] if stops else []),
            )
            count = 0
            for number, row in zip(numbers, made[:, ids.shape[1] :].tolist(), strict=True):
                new = row[: next((place for place, token in enumerate(row) if token in ends), len(row))]
                count += len(new)
                answers[number] = _before(str(tokenizer.decode(new, skip_special_tokens=True)), stops)
            on_tokens(count)
    return answers


class _Stops(StoppingCriteria):
    """Ends a sequence once one of some strings stands in what was generated.

    By decoding the last tokens: Transformers' own criterion reads the whole vocabulary first (seconds where that is
    large) and asks more of a tokenizer than one with code of its own may have.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str], start: int) -> None:
        """Take strings to look for behind column `start`."""
        self.tokenizer, self.stops, self.start = tokenizer, stops, start
        self.tokens = max(len(stop.encode()) for stop in stops) + 1  # a token holds a byte or more

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> Any:
        """Whether each sequence is over, bool [B]."""
        # A wait for the device a token, which is Transformers' own besides: it asks whether every sequence is over.
        last = input_ids[:, max(self.start, input_ids.shape[1] - self.tokens) :].tolist()
        texts = [str(self.tokenizer.decode(row)) for row in last]
        over = [any(stop in text for stop in self.stops) for text in texts]
        return torch.tensor(over, device=input_ids.device)


def _before(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop string in it."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else text
