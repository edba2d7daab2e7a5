"""A tokenizer with more tokens than a model has embeddings is refused before anything trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import deepseek_model
from training_runs import make_data, make_module, make_trainer, write_base, write_rows
from transformers import AutoTokenizer

from esft_lightning.moe import TokenizerError, check_embeddings
from esft_lightning.strategies import FullFineTuning


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_base(tmp_path_factory.mktemp("base")))


def test_ids_are_held_against_the_rows_of_both_ends(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)  # 259 tokens
    check_embeddings(deepseek_model(vocab_size=259), tokenizer)
    check_embeddings(deepseek_model(vocab_size=320), tokenizer)  # padded
    with pytest.raises(
        TokenizerError, match=r"the tokenizer has 259 tokens, the model 258 embeddings: '<pad>' has none"
    ):
        check_embeddings(deepseek_model(vocab_size=258), tokenizer)
    tokenizer.add_tokens(["<a>", "<b>"])
    with pytest.raises(TokenizerError, match=r"261 tokens, the model 260 embeddings: '<b>' has none"):
        check_embeddings(deepseek_model(vocab_size=260), tokenizer)
    short = deepseek_model(vocab_size=300)
    short.lm_head.weight.data = short.lm_head.weight.data[:200]
    with pytest.raises(TokenizerError, match="the model 200 embeddings"):
        check_embeddings(short, tokenizer)


def test_the_largest_id_counts_where_a_vocabulary_has_holes(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    vocabulary = tokenizer.get_vocab() | {"far": 999}
    tokenizer.get_vocab = lambda: vocabulary
    with pytest.raises(TokenizerError, match="1,000 tokens, the model 300 embeddings: 'far'"):
        check_embeddings(deepseek_model(vocab_size=300), tokenizer)


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_the_datas_own_tokenizer_is_checked_before_a_batch_is_read(base: Path, tmp_path: Path, verb: str) -> None:
    """Also where rows come by another tokenizer than the base's."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens([f"<extra{n}>" for n in range(60)])  # 319 tokens for 300 embeddings
    tokenizer.save_pretrained(tmp_path / "wider")
    rows = write_rows(tmp_path / "rows.jsonl")
    module, data = make_module(str(base), FullFineTuning()), make_data(str(tmp_path / "wider"), rows)
    trainer = make_trainer(tmp_path, max_steps=1, limit_val_batches=1)
    with pytest.raises(TokenizerError, match="319 tokens, the model 300 embeddings: '<extra41>'"):
        getattr(trainer, verb)(module, datamodule=data)
    assert trainer.global_step == 0
