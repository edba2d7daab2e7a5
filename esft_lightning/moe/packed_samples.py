"""Whether a model reads samples that are packed into one row as if each stood alone.

Restarting positions part the samples of a row for attention. State-space layers, linear attention and convolutions in
hybrid models may know nothing of positions and carry their state from one sample into the next.
"""

from __future__ import annotations

import torch
from torch import nn

from esft_lightning.moe.discovery import find_decoder, find_moe_layers
from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.placement import input_device
from esft_lightning.moe.quantised_bank import experts_dtype

_LENGTHS = (7, 5)
_TOLERANCE = 1e-3


def reads_packed_samples_apart(model: nn.Module) -> bool:
    """Let the model read two short samples packed into a row, and the second one alone; compare what it makes of it.

    Args:
        model: An MoE model with its weights, left as it is.

    Returns:
        Whether the second sample's hidden states are the same, to within a thousandth of their largest value (in
        bfloat16 a hundredth).
    """
    decoder = find_decoder(model)
    vocabulary = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    device = input_device(model)
    ids = torch.linspace(1, vocabulary - 1, sum(_LENGTHS), device=device).long()[None]
    positions = torch.cat([torch.arange(length, device=device) for length in _LENGTHS])[None]
    with evaluating(model), torch.no_grad():
        packed = decoder(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        alone = decoder(input_ids=ids[:, _LENGTHS[0] :], use_cache=False).last_hidden_state
    difference = (packed[:, _LENGTHS[0] :].float() - alone.float()).abs().max()
    tolerance = _TOLERANCE if experts_dtype(find_moe_layers(model)[0].experts) == torch.float32 else 10 * _TOLERANCE
    return bool(difference <= tolerance * alone.float().abs().max())
