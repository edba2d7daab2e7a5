"""Loading a tokenizer, and the few facts of it that data needs. The one place where data touches a model's files."""

from pathlib import Path
from typing import Any

from esft_lightning.embedded import TINY, is_embedded
from esft_lightning.errors import FileError, one_line
from esft_lightning.moe.base_source import refuse_revision
from esft_lightning.moe.hub import check_on_hub


def resolve_base(base: str) -> str:
    """The folder or hub id that `base` stands for: all embedded models have the tokenizer of `tiny`."""
    return str(TINY) if is_embedded(str(base)) else str(base)


def load_tokenizer(base: str, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model, without loading the model.

    Args:
        base: Hub id, folder, or `tiny` for the embedded model.
        revision: Hub revision.
        trust_remote_code: Let the repository's own Python run; off unless you have read it.

    Returns:
        A `PreTrainedTokenizerBase`.

    Raises:
        BaseNotFoundError: Nothing at `base`.
        SettingError: A revision of a folder.
        FileError: Nothing loadable there, or its tokenizer has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    source = resolve_base(base)
    if Path(source).exists():
        refuse_revision(base, revision)
    else:
        check_on_hub(source, revision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # for a damaged file tokenizers raises nothing narrower
        raise FileError(
            f"no tokenizer at {base!r}: expected a hub id, a model folder or 'tiny' ({one_line(error)})"
        ) from error
    if tokenizer.eos_token_id is None:
        raise FileError(f"the tokenizer of {base!r} has no eos_token, which ends every answer; set one and save it")
    return tokenizer


def padding_id(tokenizer: Any) -> int:
    """The id that fills rows. Where the tokenizer has none, EOS: fillers carry no label and `token_mask` drops them."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def context_length(base: str, tokenizer: Any, revision: str | None = None) -> int | None:
    """Positions that the model behind `base` has: `max_position_embeddings`, else the tokenizer's limit, else None."""
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(resolve_base(base), revision=revision)
    except (OSError, ValueError):
        config = {}  # a folder with a tokenizer alone
    limits = [config.get("max_position_embeddings"), tokenizer.model_max_length]
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 10**9]  # 1e30: no limit
    return min(known) if known else None
