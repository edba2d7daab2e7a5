"""How much an answer's text overlaps its references: chrF, BLEU and ROUGE-L, per sample and over a corpus, in [0, 1].

| metric | source | compares |
|---|---|---|
| `chrf` | Popović 2015; sacrebleu's defaults | character n-grams to order 6, recall weighted by β = 2 |
| `bleu` | Papineni et al. 2002; sacrebleu, effective order for single sentences | word n-grams to order 4 |
| `rouge_l` | Lin 2004; rouge-score | F1 of the longest common subsequence of words |

Words are sacrebleu's: its `zh` tokenizer where a reference has Chinese characters (each is a word), else `13a`; in
other scripts without spaces each character is a word (`unspaced_scripts`). ROUGE-L's words are lower-cased. A text in
the place of a list of references is one reference. This file knows text; it knows no task.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from esft_lightning.errors import SettingError
from esft_lightning.scoring.row_texts import as_texts
from esft_lightning.scoring.unspaced_scripts import split_unspaced

__all__ = ["METRICS", "bleu", "chrf", "corpus_score", "overlap_metric", "rouge_l"]

_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def chrf(prediction: str, references: str | Sequence[str]) -> float:
    """Sentence chrF against the best reference.

    Args:
        prediction: The answer.
        references: One or more references.

    Returns:
        chrF / 100, in [0, 1]; 0 for an answer without a character.
    """
    if not prediction.strip():
        return 0.0
    return min(1.0, _chrf().sentence_score(prediction, as_texts(references, "references")).score / 100)


def bleu(prediction: str, references: str | Sequence[str]) -> float:
    """Sentence BLEU with all references; orders longer than the answer are left out, zero counts smoothed.

    Args:
        prediction: The answer.
        references: One or more references.

    Returns:
        BLEU / 100, in [0, 1].
    """
    if not prediction.strip():
        return 0.0
    accepted = as_texts(references, "references")
    split = [split_unspaced(reference) for reference in accepted]
    return min(1.0, _bleu(_language(accepted)).sentence_score(split_unspaced(prediction), split).score / 100)


def rouge_l(prediction: str, references: str | Sequence[str]) -> float:
    """ROUGE-L F1 against the best reference.

    Args:
        prediction: The answer.
        references: One or more references.

    Returns:
        F1 in [0, 1].
    """
    accepted = as_texts(references, "references")
    scorer = _rouge(_language(accepted))
    return max(scorer.score(reference, prediction)["rougeL"].fmeasure for reference in accepted)


METRICS: dict[str, Callable[[str, str | Sequence[str]], float]] = {"chrf": chrf, "bleu": bleu, "rouge_l": rouge_l}
"""Name → metric of one sample."""


def overlap_metric(name: str) -> Callable[[str, str | Sequence[str]], float]:
    """The metric of that name.

    Raises:
        ValueError: No such metric.
    """
    if name not in METRICS:
        raise SettingError(f"unknown metric {name!r}; expected one of {', '.join(METRICS)}")
    return METRICS[name]


def corpus_score(name: str, predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> float:
    """A metric over a whole corpus: chrF and BLEU from pooled counts, ROUGE-L as the mean of its samples.

    Args:
        name: A key of `METRICS`.
        predictions: Answers.
        references: The references of each; where their numbers differ, the first of each is used.

    Returns:
        Score in [0, 1].

    Raises:
        ValueError: No such metric, no sample, or unequal numbers.
    """
    metric = overlap_metric(name)
    if not predictions or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references; expected as many, and one")
    if name == "rouge_l":
        return statistics.fmean(metric(*pair) for pair in zip(predictions, references, strict=True))
    lists = [as_texts(accepted, "references") for accepted in references]
    counts = {len(accepted) for accepted in lists}
    many = counts.pop() if len(counts) == 1 else 1
    streams = [[accepted[position] for accepted in lists] for position in range(many)]
    if name == "chrf":
        return _chrf().corpus_score(list(predictions), streams).score / 100
    language = _language([text for stream in streams for text in stream])
    split = [[split_unspaced(text) for text in stream] for stream in streams]
    return _corpus_bleu(language, [split_unspaced(prediction) for prediction in predictions], split)


def _language(references: Sequence[str]) -> str:
    """Sacrebleu's name of the tokenizer that the references need."""
    return "zh" if any(_CHINESE.search(reference) for reference in references) else "13a"


# The libraries are imported on first use: most runs never score text, and nltk, which rouge-score brings, is slow.
@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _bleu(tokenizer: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, effective_order=True)


def _corpus_bleu(tokenizer: str, predictions: list[str], streams: list[list[str]]) -> float:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer).corpus_score(predictions, streams).score / 100


@cache
def _rouge(tokenizer: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Words(tokenizer))


class _Words:
    """rouge-score's tokenizer interface around sacrebleu's tokenizers."""

    def __init__(self, tokenizer: str) -> None:
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
        from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

        self._split = TokenizerZh() if tokenizer == "zh" else Tokenizer13a()

    def tokenize(self, text: str) -> list[str]:
        return self._split(split_unspaced(text.lower())).split()
