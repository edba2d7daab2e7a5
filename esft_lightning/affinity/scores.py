"""Affinity scores: the paper's two (equations 6 and 7), from sums over routing, and measured ones. Knows no model.

Shape letters: L MoE layers, E routed experts, K experts per token.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args

from esft_lightning.errors import SettingError

Score = Literal["gate", "token", "gate_norm", "activation", "fisher"]
"""`gate`: average gate score, eq. 6. `token`: token selection ratio, eq. 7. The others are no part of the paper and are
measured only when asked for (`MEASURED`)."""

MEASURED = ("gate_norm", "activation", "fisher")
"""Scores that need more than routing: means over tokens of gate × norm of the expert's output (as EASY-EP,
arXiv 2504.06792), of gate × mean absolute activation, and of the Fisher information of the expert's contribution; 0
where a token did not choose the expert. Their units mean nothing, so a layer is always divided by its sum."""

Average = Literal["token", "sample"]
"""`token`: every token counts once, as in the scores the authors released. `sample`: mean over each sample first, then
over samples, as in the equations. On samples of equal length the two agree."""

Array = TypeVar("Array", bound=Any)


def check_choices(score: str, average: str) -> None:
    """Raise ValueError, naming the choices, unless `score` and `average` are known ones."""
    for name, value, choices in (("score", score, get_args(Score)), ("average", average, get_args(Average))):
        if value not in choices:
            raise SettingError(f"{name}={value!r} is unknown; expected one of {', '.join(map(repr, choices))}")


def affinity_scores(
    *,
    token_count: Array,
    gate_sum: Array,
    sample_token: Array,
    sample_gate: Array,
    tokens: int,
    samples: int,
    top_k: int,
    score: str,
    average: str = "token",
    normalize: bool = False,
    measured: Mapping[str, Array] | None = None,
) -> Array:
    """Affinity of every expert, [L, E]; works alike on numpy arrays and on torch tensors.

    Args:
        token_count: how many tokens chose the expert, [L, E].
        gate_sum: sum over tokens of the gate as applied (0 where not chosen), [L, E].
        sample_token: sum over samples j of (1/L_j) × tokens of j that chose the expert, [L, E].
        sample_gate: sum over samples j of (1/L_j) × gates over the tokens of j, [L, E].
        tokens: tokens counted.
        samples: samples counted.
        top_k: K, experts chosen per token.
        score: `gate` (eq. 6), `token` (eq. 7, whose layers each sum to 1), or one of `MEASURED`.
        average: `token` or `sample`; see `Average`.
        normalize: divide each layer by its sum, so that a threshold p is a share of what the layer's gates carry.
        measured: sums over tokens of the scores in `MEASURED` that were asked for, [L, E] each.

    Raises:
        ValueError: unknown `score` or `average`, a score that was not measured, or nothing was counted.
    """
    check_choices(score, average)
    if score in MEASURED:
        if average != "token":
            raise SettingError(f"score={score!r} is averaged over tokens; expected average='token', got {average!r}")
        if not measured or score not in measured:
            raise SettingError(
                f"the profile holds no {score!r}; profile with a strategy that selects by it (score: {score})"
            )
    if tokens <= 0 or samples <= 0:
        raise ValueError("no token was counted, so there is no affinity: feed routing of at least one token first")
    if score in MEASURED:
        assert measured is not None
        scores, normalize = measured[score] / tokens, True
    elif average == "token":
        scores = gate_sum / tokens if score == "gate" else token_count / (tokens * top_k)
    else:
        scores = sample_gate / samples if score == "gate" else sample_token / (samples * top_k)
    if normalize:
        total = scores.sum(-1)[:, None]
        scores = scores / (total + (total == 0))  # a layer whose gates are all zero stays zero
    return scores
