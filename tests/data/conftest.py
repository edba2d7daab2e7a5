"""A small byte-level BPE tokenizer of this folder's own, so that data is tested without any model's files."""

from pathlib import Path
from typing import Any

import pytest
from chat_rows import chat, write_jsonl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "User: What is the intent of this sentence?\n\nAssistant: The answer is four hundred and twelve.",
    "User: 请分析下面这句话的意图\n\nAssistant: 判决如下",
    "def total(xs): return sum(x * 3 for x in xs if x > 5)",
]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(TEXT * 5, trainer)
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=1_000
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: str) -> Any:
    from esft_lightning.moe.tokenizer import load_tokenizer

    return load_tokenizer(tokenizer_folder)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A training file of 120 short rows, and one of 60 general rows, told apart by their first word."""
    train = [chat(f"task question {n} about {'x' * (n % 17)}", f"answer {n * 7}") for n in range(120)]
    general = [chat(f"general question {n}", f"general answer {n}") for n in range(60)]
    return {
        "train": write_jsonl(tmp_path / "train.jsonl", train),
        "general": write_jsonl(tmp_path / "general.jsonl", general),
    }
