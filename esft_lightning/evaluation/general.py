"""General ability of a model, measured before and after fine-tuning.

Six probes in the shape of the paper's seven benchmarks (see
:mod:`esft_lightning.embedded.general_probes`): recall, continuation, multiple choice, reference, format and
held-out text. They suit the embedded tiny model, which met the invented world in pretraining; any other model can be
run through them, but its numbers then say little.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from esft_lightning.data.chat import turn_end
from esft_lightning.embedded import TINY, is_embedded
from esft_lightning.embedded.corpus import WEIGHTS, held_out_texts
from esft_lightning.embedded.general_probes import probes
from esft_lightning.evaluation.generation import generate
from esft_lightning.evaluation.likelihood import option_scores, predict_texts
from esft_lightning.scoring.general import follows_format, score_choice, score_recall

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["GeneralAbility", "general_ability", "suits_probes"]

_GENERATED = {"recall": score_recall, "format": follows_format}
_TEXTS_PER_DOMAIN = 8
_NEW_TOKENS = 20  # the longest right answer has 15


@dataclass(frozen=True)
class GeneralAbility:
    """Scores of the probes.

    Attributes:
        scores: Probe → share of right answers in [0, 1] (`held_out_text`: share of right next tokens), and `average`,
            the plain mean of the probes.
        rows: Probe → score of each row, in the same order for every model.
        loss: Loss on the held-out texts, nats per token.
    """

    scores: dict[str, float]
    rows: dict[str, list[float]]
    loss: float


def suits_probes(base: str) -> bool:
    """Whether a base has met the world that the probes ask about: the embedded model, under any name. Says so if not.

    Args:
        base: The base's name or folder.
    """
    if is_embedded(base) or Path(base).resolve() == TINY.resolve():
        return True
    from lightning.pytorch.utilities.rank_zero import rank_zero_info

    rank_zero_info(
        f"General ability is not measured: its probes ask about the embedded model's world, which {base} has not met; "
        "`python -m esft_lightning evaluate` asks the field's benchmarks"
    )
    return False


def general_ability(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    limit: int | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> GeneralAbility:
    """Score every probe.

    Args:
        model: A causal LM; it is left in the mode it was in.
        tokenizer: Its tokenizer.
        limit: Rows per probe; all 80 when None.
        batch_size: Rows computed together.
        progress: Show a progress bar, one step a probe.

    Returns:
        The scores, row by row too.
    """
    rows_of: dict[str, list[float]] = {}
    end = turn_end(tokenizer, "esft")  # the probes' own format
    bar = tqdm(probes(limit).items(), desc="General ability", unit="probe", disable=not progress)
    for name, rows in bar:
        prompts = [row["prompt"] for row in rows]
        if name in _GENERATED:
            answers = generate(
                model, tokenizer, prompts, max_new_tokens=_NEW_TOKENS, batch_size=batch_size, turn_end=end
            )
            scores = [_GENERATED[name](answer, row) for answer, row in zip(answers, rows, strict=True)]
        else:
            likelihoods = option_scores(
                model, tokenizer, prompts, [row["options"] for row in rows], batch_size=batch_size
            )
            scores = [score_choice(values, row) for values, row in zip(likelihoods, rows, strict=True)]
        rows_of[name] = [float(score) for score in scores]
    per_domain = _TEXTS_PER_DOMAIN if limit is None else max(1, min(limit, _TEXTS_PER_DOMAIN))
    texts = [text for domain in WEIGHTS for text in held_out_texts(domain, per_domain)]
    predicted = predict_texts(model, tokenizer, texts, batch_size=max(1, batch_size // 4))
    result = {name: sum(scores) / len(scores) for name, scores in rows_of.items()}
    tokens = sum(text.tokens for text in predicted)
    result["held_out_text"] = sum(text.right for text in predicted) / tokens
    rows_of["held_out_text"] = [text.right / max(1, text.tokens) for text in predicted]
    result["average"] = sum(result.values()) / len(result)
    return GeneralAbility(result, rows_of, sum(text.nats for text in predicted) / tokens)
