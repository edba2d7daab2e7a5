"""How likely a model finds given texts: options after a prompt, and held-out text.

Rows are padded on the right and run without cache and attention mask: under causal attention no real token sees what
stands behind it. Only sums over tokens leave this file; what counts as a right choice is in
:mod:`esft_lightning.scoring.general`.

Shape letters: B batch, S sequence, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from esft_lightning.data.control_tokens import plain_text_ids
from esft_lightning.evaluation.generation import prompt_ids
from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.rounded_copies import copies_kept

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TextPrediction", "option_scores", "predict_texts"]


def _batches(rows: Sequence[Sequence[int]], batch_size: int) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Numbers of the rows in a batch and their ids [B, S], shortest rows first, filled up with token 0 on the right."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        ids = torch.zeros((len(numbers), max(len(rows[n]) for n in numbers)), dtype=torch.long)
        for line, number in enumerate(numbers):
            ids[line, : len(rows[number])] = torch.tensor(rows[number], dtype=torch.long)
        yield numbers, ids


def _logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids.to(model.device), use_cache=False).logits


def option_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    *,
    batch_size: int = 64,
) -> list[list[float]]:
    """Mean log-likelihood per token of every option after its prompt.

    An option is tokenized on its own, so it should begin with the space that separates it from the prompt.

    Args:
        model: Any Transformers causal LM.
        tokenizer: Its tokenizer.
        prompts: One text per question.
        options: The options of every question.
        batch_size: Rows (prompt with option) computed together.

    Returns:
        Per question the score of each option in nats per token; larger is likelier.

    Raises:
        ValueError: An option is empty, or the numbers of prompts and questions differ.
    """
    rows: list[list[int]] = []
    places: list[tuple[int, int]] = []  # row → (first token of the option, its question)
    for number, (prompt, texts) in enumerate(zip(prompts, options, strict=True)):
        head = prompt_ids(tokenizer, prompt)
        for text in texts:
            (tail,) = plain_text_ids([text], tokenizer)
            if not tail:
                raise ValueError(f"option_scores: question {number} has an empty option; every option needs a token")
            rows.append([*head, *tail])
            places.append((len(head), number))
    scores = [0.0] * len(rows)
    with evaluating(model), torch.inference_mode(), copies_kept():
        for numbers, ids in _batches(rows, batch_size):
            logits_BSV = _logits(model, ids)
            ids = ids.to(logits_BSV.device)
            nats = []
            for line, number in enumerate(numbers):
                first, last = places[number][0], len(rows[number])
                nats.append(F.cross_entropy(logits_BSV[line, first - 1 : last - 1].float(), ids[line, first:last]))
            for number, value in zip(numbers, torch.stack(nats).tolist(), strict=True):  # the batch's one wait
                scores[number] = -value
    grouped: list[list[float]] = [[] for _ in prompts]
    for (_, question), score in zip(places, scores, strict=True):
        grouped[question].append(score)
    return grouped


@dataclass(frozen=True)
class TextPrediction:
    """How a model predicts the tokens of one text.

    Attributes:
        right: Tokens that the model finds likeliest.
        nats: Their negative log-likelihood, summed.
        tokens: Tokens predicted.
    """

    right: int
    nats: float
    tokens: int


def predict_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    batch_size: int = 16,
    max_tokens: int = 256,
) -> list[TextPrediction]:
    """Predict every token of `texts`, given what stands before it.

    Args:
        model: Any Transformers causal LM.
        tokenizer: Its tokenizer.
        texts: Texts, without special tokens.
        batch_size: Texts computed together.
        max_tokens: A longer text is cut here.

    Returns:
        One entry a text.

    Raises:
        ValueError: There is no token to predict.
    """
    rows = [prompt_ids(tokenizer, text)[:max_tokens] for text in texts]
    if not any(len(row) > 1 for row in rows):
        raise ValueError("predict_texts: no token to predict; give at least one text of two tokens")
    found = [TextPrediction(0, 0.0, 0)] * len(rows)
    with evaluating(model), torch.inference_mode(), copies_kept():
        for numbers, ids in _batches(rows, batch_size):
            logits_BSV = _logits(model, ids).float()
            likeliest_BS = logits_BSV.argmax(-1).cpu()
            nats_BS = F.cross_entropy(
                logits_BSV[:, :-1].flatten(0, 1), ids[:, 1:].flatten().to(logits_BSV.device), reduction="none"
            ).view(len(ids), -1)
            nats_BS = nats_BS.double().cpu()
            for line, number in enumerate(numbers):
                length = len(rows[number])
                right = int((likeliest_BS[line, : length - 1] == ids[line, 1:length]).sum())
                found[number] = TextPrediction(right, float(nats_BS[line, : length - 1].sum()), length - 1)
    return found
