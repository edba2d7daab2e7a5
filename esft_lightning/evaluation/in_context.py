"""In-context ability of a model: share of right answers to the probes, less what rote gets.

The probes are those of :mod:`esft_lightning.embedded.in_context_probes`; an answer is right when its text is the
reference's, spaces at the ends and a full stop apart. A baseline is what the best of three rules gets that need no
understanding: the last shot's answer, the answer that is most frequent, something of the question at random.

``python -m esft_lightning.evaluation.in_context BASE``
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esft_lightning.command_parser import CommandParser
from esft_lightning.embedded.in_context_probes import in_context_probes
from esft_lightning.evaluation.generation import generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["InContextAbility", "in_context_ability"]

_NEW_TOKENS = 48


@dataclass(frozen=True)
class InContextAbility:
    """What a model takes from its prompts.

    Attributes:
        scores: Probe → right answers, per cent.
        baselines: Probe → what the best rote rule gets, per cent.
        rows: Probe → whether each row's answer is right, in the same order for every model.
    """

    scores: dict[str, float]
    baselines: dict[str, float]
    rows: dict[str, list[bool]]

    @property
    def gain(self) -> float:
        """Mean over the probes of score less baseline, points."""
        return sum(self.scores[probe] - self.baselines[probe] for probe in self.scores) / len(self.scores)


def _plain(text: str) -> str:
    return text.strip().removesuffix(".").strip()


def rote_baseline(rows: Sequence[dict]) -> float:
    """Per cent right by the best rule that needs no understanding."""
    answers = [_plain(row["answer"]) for row in rows]
    constant = Counter(answers).most_common(1)[0][1]
    last_shot = sum(_plain(row["rote"]["last_shot"]) == answer for row, answer in zip(rows, answers, strict=True))
    question = sum(_plain(row["rote"]["question"]) == answer for row, answer in zip(rows, answers, strict=True))
    anything = sum(row["rote"]["anything"] for row in rows)
    return 100 * max(constant, last_shot, question, anything) / len(rows)


def in_context_ability(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, limit: int | None = None, batch_size: int = 50
) -> InContextAbility:
    """Answer every probe.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        limit: Rows per probe; all when None.
        batch_size: Rows computed together.
    """
    scores, baselines, right = {}, {}, {}
    for probe, rows in in_context_probes(limit).items():
        prompts = [row["prompt"] for row in rows]
        answers = generate(model, tokenizer, prompts, max_new_tokens=_NEW_TOKENS, batch_size=batch_size)
        right[probe] = [_plain(answer) == _plain(row["answer"]) for answer, row in zip(answers, rows, strict=True)]
        scores[probe] = 100 * sum(right[probe]) / len(rows)
        baselines[probe] = rote_baseline(rows)
    return InContextAbility(scores, baselines, right)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores of one base as JSON."""
    parser = CommandParser(
        prog="python -m esft_lightning.evaluation.in_context", description="In-context ability of a base."
    )
    parser.add_argument("base", help="tiny, a folder, or a hub id")
    parser.add_argument("--limit", type=int, help="rows per probe (default: all)")
    options = parser.parse_args(arguments)
    from esft_lightning.moe import load_model
    from esft_lightning.moe.loading import load_tokenizer

    ability = in_context_ability(
        load_model(options.base, dtype="float32"), load_tokenizer(options.base), limit=options.limit
    )
    print(
        json.dumps(
            {
                "gain": round(ability.gain, 2),
                "scores": {probe: round(score, 1) for probe, score in ability.scores.items()},
                "baselines": {probe: round(score, 1) for probe, score in ability.baselines.items()},
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
