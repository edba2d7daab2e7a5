"""Recompute each layer in backward instead of keeping its activations, where a backward pass is needed at all."""

from __future__ import annotations

from transformers import PreTrainedModel

from esft_lightning.moe.kept_memory import give_back_large_blocks_when_freed


def recompute_layers(model: PreTrainedModel) -> None:
    """Switch activation checkpointing on, for the layers that backward goes through.

    Transformers makes the embeddings' output require a gradient along with it, for the sake of reentrant checkpoints.
    Backward would then recompute every layer down to the embeddings, trained or not. The checkpoints here are not
    reentrant and need no such thing, so layers below the first trained parameter run forward once and keep nothing.
    Whoever asks for this prefers memory to speed: the C library is told so, too.

    Args:
        model: Any Transformers model, in train mode when it trains (Transformers recomputes in no other).

    Raises:
        ValueError: If the model does not support it.
    """
    give_back_large_blocks_when_freed()
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    else:  # its name in older Transformers
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.disable_input_require_grads()
