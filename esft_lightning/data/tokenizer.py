"""Loading a base model's tokenizer."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from esft_lightning.assets import TINY_FOLDER


def load_tokenizer(
    base: str | Path, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a base model.

    Args:
        base: `tiny` (the embedded model), a local folder, or a hub id.
        revision: Hub revision (branch, tag or commit).
        trust_remote_code: Run tokenizer code that comes with the checkpoint. Only for sources that you trust.

    Returns:
        The tokenizer, with a padding token (the end-of-sequence token where it has none of its own).

    Raises:
        OSError: If the tokenizer cannot be found or read.
    """
    source = str(TINY_FOLDER if base == "tiny" else base)
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
