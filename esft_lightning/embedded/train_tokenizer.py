"""Train the tokenizer of the tiny model on the embedded corpus.

``python -m esft_lightning.embedded.train_tokenizer --output FOLDER``

Byte-level BPE with digits split one by one; special tokens ``<s>``, ``</s>`` and ``<pad>``; a chat template that
writes the ``esft`` chat format. Deterministic for a given Python version (the corpus holds its standard library).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from esft_lightning.command_parser import CommandParser
from esft_lightning.embedded import TINY
from esft_lightning.embedded.corpus import WEIGHTS, domain_texts
from esft_lightning.storage import whole_files

__all__ = ["CHAT_TEMPLATE", "train_tokenizer"]

VOCABULARY = 2048
MAX_POSITIONS = 4096

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def _sample(characters: int, seed: int) -> Iterator[str]:
    """Texts of the corpus; small domains count more than in pretraining, so that each gets merges of its own."""
    shares = {domain: weight**0.5 for domain, weight in WEIGHTS.items()}
    for domain, share in shares.items():
        left = characters * share / sum(shares.values())
        for text in domain_texts(domain, f"tokenizer-{seed}"):
            yield text
            left -= len(text)
            if left <= 0:
                break


def train_tokenizer(characters: int = 6_000_000, seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the byte-level BPE tokenizer.

    Args:
        characters: Size of the text sample.
        seed: Seed of the sample.

    Returns:
        The tokenizer; ``save_pretrained`` writes files that ``AutoTokenizer`` loads.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(characters, seed), trainer)
    # as the tokenizer of DeepSeek-V2 does: <s> before a text, nothing after it
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=MAX_POSITIONS,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def main() -> None:
    """Command line."""
    parser = CommandParser(
        prog="python -m esft_lightning.embedded.train_tokenizer",
        description="Train the tokenizer of the tiny model on the embedded corpus.",
    )
    parser.add_argument("--output", type=Path, default=TINY, help="folder to write the tokenizer to")
    parser.add_argument("--characters", type=int, default=6_000_000, help="size of the text sample")
    parser.add_argument("--seed", type=int, default=0, help="seed of the text sample")
    arguments = parser.parse_args()
    tokenizer = train_tokenizer(arguments.characters, arguments.seed)
    with whole_files(arguments.output) as folder:
        tokenizer.save_pretrained(folder)
    print(f"{len(tokenizer)} tokens -> {arguments.output}")


if __name__ == "__main__":
    main()
