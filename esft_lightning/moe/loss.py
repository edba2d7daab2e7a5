"""The language-model loss, computed only where a label stands.

`B` batch, `S` sequence, `H` hidden, `V` vocabulary, `N` labelled positions. At a vocabulary of 102,400 the fp32 logits
of 4,096 positions are 1.7 GB, and most positions of a fine-tuning batch carry no label. So the decoder runs on
everything, the head on labelled positions only, in chunks that are recomputed in backward. Knows models; knows nothing
of strategies, optimizers or tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.known_packing import known_packing
from esft_lightning.moe.master_weights import trains_in_fp32
from esft_lightning.moe.placement import input_device
from esft_lightning.moe.rounded_copies import copies_not_kept
from esft_lightning.moe.targets import labelled_places

LOGITS_PER_CHUNK = 2**25  # 128 MB in fp32


@dataclass(frozen=True)
class TokenLoss:
    """What one batch contributes to the loss.

    Attributes:
        total: Sum of the labelled tokens' losses in nats, fp32 scalar, with gradient.
        tokens: How many tokens are labelled, int64 scalar.
        correct: How many of them the largest logit predicts, int64 scalar.
    """

    total: Tensor
    tokens: Tensor
    correct: Tensor


class LabelledTokenLoss:
    """Sum of token losses of a causal LM over its labelled positions.

    Whether logits are plainly `head(last_hidden_state)` is looked up once, on a probe input: families that cap or scale
    their logits go through the model's own forward instead.

    Example:
        >>> loss = LabelledTokenLoss(model)
        >>> loss(batch).total / loss(batch).tokens
    """

    def __init__(self, model: nn.Module) -> None:
        """Look at how the model makes its logits.

        Args:
            model: A Transformers causal LM, bare or wrapped by peft.
        """
        self._model = model
        bare: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
        self._decoder, self._rows_dtype = _plain_head(bare)
        self._head = bare.get_output_embeddings()
        self._rounds = trains_in_fp32(model)

    @property
    def has_plain_head(self) -> bool:
        """Whether the head runs on labelled positions only (False: the model's full logits are needed)."""
        return self._decoder is not None

    def __call__(self, batch: Mapping[str, Tensor]) -> TokenLoss:
        """Compute the loss of one batch.

        Args:
            batch: `input_ids` and unshifted `labels`, int64 `[B, S]`; `position_ids` `[B, S]` where positions restart.
                No attention mask is passed on: rows are padded on the right, which a causal model never looks at, and a
                mask would let attention cross packed samples. With what `data.host_side.known_on_host` adds, nothing is
                asked of the device.

        Returns:
            Sum and count over the labelled tokens. Without any, a zero that still reaches every parameter.
        """
        inputs = {"input_ids": batch["input_ids"]}
        if "position_ids" in batch:
            inputs["position_ids"] = batch["position_ids"]
        with copies_not_kept(self._rounds), known_packing(batch.get("restarts")):  # type: ignore[arg-type]
            return self._loss(inputs, batch)

    def _loss(self, inputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> TokenLoss:
        if self._decoder is not None:
            hidden = self._decoder(**inputs, use_cache=False).last_hidden_state
        else:
            hidden = self._model(**inputs, use_cache=False).logits
        places_N = batch.get("labelled_places")
        if places_N is None:  # on an accelerator the host waits for it
            places_N = labelled_places(batch["labels"], batch.get("position_ids"))
        # Where the last layer lies: a model may be spread over devices.
        places_N = places_N.to(hidden.device)
        targets_N = batch["labels"].to(hidden.device).flatten().index_select(0, places_N + 1)
        if targets_N.numel() == 0:
            rows = hidden[:, :1].flatten(0, 1)
            nothing = (self._logits(rows).float().sum() + hidden.float().sum()) * 0.0
            return TokenLoss(nothing, targets_N.new_zeros(()), targets_N.new_zeros(()))
        rows_N = hidden.flatten(0, 1).index_select(0, places_N)
        return loss_of_rows(rows_N, targets_N, self._logits, self._head.weight.shape[0])

    def _logits(self, rows: Tensor) -> Tensor:
        """Logits `[n, V]` of rows that are hidden states (plain head) or logits already."""
        return self._head(rows.to(self._rows_dtype)) if self._decoder is not None else rows


def loss_of_rows(
    rows_N: Tensor, targets_N: Tensor, logits_of: Callable[[Tensor], Tensor], vocabulary: int
) -> TokenLoss:
    """Loss of labelled positions, a chunk of logits at a time.

    Args:
        rows_N: What logits are made of, `[N, …]`, at least one row.
        targets_N: What each row has to predict, int64 `[N]`.
        logits_of: Makes the logits `[n, V]` of some rows.
        vocabulary: V.

    Returns:
        Sum, count and correct predictions.
    """

    def chunk(rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_of(rows).float().to(targets.device)
        return F.cross_entropy(logits, targets, reduction="sum"), (logits.detach().argmax(-1) == targets).sum()

    size = max(1, LOGITS_PER_CHUNK // vocabulary)
    chunks = list(zip(rows_N.split(size), targets_N.split(size), strict=True))
    # A single chunk is kept for backward; several are recomputed, so that one chunk of logits is alive at a time.
    recompute = len(chunks) > 1 and torch.is_grad_enabled()
    total = rows_N.new_zeros((), dtype=torch.float32)
    correct = targets_N.new_zeros(())
    for rows, targets in chunks:
        if recompute:
            chunk_total, chunk_correct = checkpoint(chunk, rows, targets, use_reentrant=False)
        else:
            chunk_total, chunk_correct = chunk(rows, targets)
        total = total + chunk_total
        correct = correct + chunk_correct
    return TokenLoss(total, targets_N.new_full((), targets_N.numel()), correct)


def _plain_head(model: Any) -> tuple[nn.Module | None, torch.dtype]:
    """The decoder whose `last_hidden_state` goes through the head to become the logits, and the dtype the head gets.

    Seen by listening to one forward pass, bit for bit, so that a scale or a soft cap near one does not slip through.
    The decoder is None where the logits are something else. Some families keep an fp32 head in a bf16 model.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    if head is None or decoder is None or decoder is model:
        return None, torch.float32
    ids = torch.arange(1, 5, device=input_device(model)).unsqueeze(0) % head.weight.shape[0]
    with evaluating(model):
        seen = watch_head(model, decoder, input_ids=ids, use_cache=False)
    if seen is None:
        return None, torch.float32
    plain = (
        seen.rows.shape == seen.hidden.shape
        and torch.equal(seen.rows.float(), seen.hidden.float())
        and torch.equal(seen.head_output.float(), seen.logits.float().to(seen.head_output.device))
    )
    return (decoder if plain else None), seen.rows.dtype


@dataclass(frozen=True)
class HeadPass:
    """What a forward pass did around the head.

    Attributes:
        hidden: The decoder's last hidden states.
        rows: What went into the head.
        head_output: What came out of it.
        logits: What the model gave.
    """

    hidden: Tensor
    rows: Tensor
    head_output: Tensor
    logits: Tensor


@torch.no_grad()
def watch_head(model: Any, decoder: nn.Module, **inputs: Any) -> HeadPass | None:
    """Run a model and listen to its decoder and its head.

    Args:
        model: A Transformers causal LM with a head.
        decoder: Its decoder.
        inputs: What the model is called with.

    Returns:
        What was seen; None if the decoder or the head was not called, or the head more than once.
    """
    hidden: list[Tensor] = []
    head_calls: list[tuple[Tensor, Tensor]] = []

    def after_decoder(module: nn.Module, args: tuple, output: Any) -> None:
        hidden.append(output.last_hidden_state if hasattr(output, "last_hidden_state") else output[0])

    def after_head(module: nn.Module, args: tuple, output: Tensor) -> None:
        head_calls.append((args[0], output))

    handles = [
        decoder.register_forward_hook(after_decoder),
        model.get_output_embeddings().register_forward_hook(after_head),
    ]
    try:
        logits = model(**inputs).logits
    finally:
        for handle in handles:
            handle.remove()
    if not hidden or len(head_calls) != 1:
        return None
    return HeadPass(hidden[-1], *head_calls[0], logits)
