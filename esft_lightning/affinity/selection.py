"""Which experts are trained: made from scores, kept in the official `expert_cfg.json`. Knows no model and no routing.

Shape letters: L MoE layers, E routed experts.
"""

import difflib
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from esft_lightning.errors import FileError, SettingError
from esft_lightning.storage import atomic_write

_log = logging.getLogger(__name__)
_KEYS = ("experts", "shared_experts", "non_expert_modules")


@dataclass(frozen=True)
class ExpertSelection:
    """Experts to train, per decoder layer.

    Attributes:
        experts: decoder layer number → ids of its selected experts, in the order in which they were selected.
        shared_experts: train the shared experts too (the paper's Table 3).
        non_expert_modules: train everything that is not an expert too (attention, router, norms, embeddings, head).
        unreached: layers whose scores sum to less than the p asked for, so that all their experts are selected. Not
            part of the file format, nor of equality.
    """

    experts: dict[int, list[int]]
    shared_experts: bool = False
    non_expert_modules: bool = False
    unreached: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for layer, ids in self.experts.items():
            _check_layer(layer, ids, f"experts[{layer}]")

    def per_layer(self) -> dict[int, int]:
        """Number of selected experts by layer."""
        return {layer: len(ids) for layer, ids in self.experts.items()}

    @property
    def total(self) -> int:
        """Number of selected experts over all layers."""
        return sum(len(ids) for ids in self.experts.values())

    @property
    def mean_per_layer(self) -> float:
        """Mean number of selected experts a layer (the paper's Fig. 4 and 6); 0.0 without layers."""
        return self.total / len(self.experts) if self.experts else 0.0

    def check_fits(self, layers: Sequence[int], num_experts: int) -> None:
        """Raise ValueError unless each selected layer is one of `layers` and each id is below `num_experts`."""
        known = set(layers)
        for layer, ids in self.experts.items():
            if layer not in known:
                raise SettingError(
                    f"experts[{layer}]: the model has no MoE layer {layer}; its MoE layers are {_ranges(sorted(known))}"
                )
            beyond = [i for i in ids if i >= num_experts]
            if beyond:
                raise SettingError(
                    f"experts[{layer}]: expert {beyond[0]} does not exist; the model has experts 0 to {num_experts - 1}"
                )

    def save(self, path: str | Path) -> None:
        """Write the official `expert_cfg.json` (keys `experts`, `shared_experts`, `non_expert_modules`), atomically."""
        document = {
            "experts": {str(layer): list(ids) for layer, ids in sorted(self.experts.items())},
            "shared_experts": self.shared_experts,
            "non_expert_modules": self.non_expert_modules,
        }
        atomic_write(path, json.dumps(document).encode())

    @classmethod
    def load(cls, path: str | Path) -> "ExpertSelection":
        """Read an official `expert_cfg.json`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not such a file; the message names the file and the key.
        """
        path = Path(path)
        try:
            document = json.loads(path.read_bytes(), object_pairs_hook=_refuse_repeated_keys)
            return cls(**_parse(document))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FileError(f"{path}: not JSON ({error}); expected a whole expert_cfg.json") from error
        except ValueError as error:
            raise FileError(f"{path}: {error}") from error


def select_top_p(scores: np.ndarray, layers: Sequence[int], p: float) -> ExpertSelection:
    """Per layer the shortest prefix of experts, by descending score, whose scores sum to at least p (eq. 8).

    Equal scores: lower id first. At least one expert a layer. A layer whose scores sum to less than p keeps all its
    experts, is listed in the result's `unreached` and logged as a warning.

    "At least p" allows for rounding: a sum that equals p in exact arithmetic counts as reached. Scores are
    non-negative, so their own rounding (half a unit in the last place each) moves a sum by no more than that same
    relative amount, and adding E of them in float64 by at most E units; nothing beyond that is forgiven.

    Args:
        scores: affinity, [L, E], non-negative.
        layers: decoder layer number of each row of `scores`.
        p: threshold > 0, in the unit of the scores (a share of each layer only where its scores sum to 1).

    Raises:
        ValueError: scores or p out of range, or shapes that do not agree.
    """
    scores, precision = _check_scores(scores, layers)
    if not np.isfinite(p) or p <= 0:
        raise SettingError(f"p={p} is out of range; expected a number above 0")
    count = scores.shape[1]
    order = _descending(scores)
    sums = np.cumsum(np.take_along_axis(scores, order, axis=1), axis=1)
    threshold = p * (1 - 2 * precision - count * np.finfo(np.float64).eps)
    below = (sums < threshold).sum(axis=1)
    unreached = tuple(int(layer) for layer, n in zip(layers, below, strict=True) if n == count)
    if unreached:
        _log.warning(
            "p=%g is more than the scores of layer%s %s sum to (least: %.4g): all %d experts selected there",
            p,
            "s"[: len(unreached) > 1],
            _ranges(unreached),
            sums[:, -1].min(),
            count,
        )
    return ExpertSelection(
        {int(layer): row[: n + 1].tolist() for layer, row, n in zip(layers, order, below, strict=True)},
        unreached=unreached,
    )


def select_top_k(scores: np.ndarray, layers: Sequence[int], k: int) -> ExpertSelection:
    """The k experts of highest score in every layer; equal scores: lower id first.

    Args:
        scores: affinity, [L, E], non-negative.
        layers: decoder layer number of each row of `scores`.
        k: experts per layer, 1 to E.

    Raises:
        ValueError: scores or k out of range, or shapes that do not agree.
    """
    scores, _ = _check_scores(scores, layers)
    if not 1 <= k <= scores.shape[1]:
        raise SettingError(f"k={k} is out of range; expected 1 to {scores.shape[1]}, the number of experts")
    order = _descending(scores)[:, :k]
    return ExpertSelection({int(layer): row.tolist() for layer, row in zip(layers, order, strict=True)})


def select_random(like: ExpertSelection | Mapping[int, int], num_experts: int, seed: int) -> ExpertSelection:
    """As many experts per layer as `like` has, drawn at random without replacement (the paper's Table 4).

    The draw orders a layer's experts by SHA-256 of (seed, layer, expert): the same on every machine and with every
    version of numpy, and a layer's draw does not depend on the other layers.

    Args:
        like: a selection, whose `shared_experts` and `non_expert_modules` are kept, or the number by layer.
        num_experts: E, experts of each layer.
        seed: any integer.

    Raises:
        ValueError: a layer asks for more than `num_experts`.
    """
    counts = like.per_layer() if isinstance(like, ExpertSelection) else like
    experts = {}
    for layer, count in counts.items():
        if not 0 <= count <= num_experts:
            raise SettingError(f"layer {layer} asks for {count} random experts; expected 0 to {num_experts}")
        experts[layer] = _shuffled(num_experts, f"{seed}/{layer}")[:count]
    if isinstance(like, ExpertSelection):
        return ExpertSelection(experts, like.shared_experts, like.non_expert_modules)
    return ExpertSelection(experts)


def _shuffled(count: int, salt: str) -> list[int]:
    return sorted(range(count), key=lambda number: hashlib.sha256(f"{salt}/{number}".encode()).digest())


def _descending(scores: np.ndarray) -> np.ndarray:
    # A stable sort of the negated scores leaves equal ones in order of id.
    return np.argsort(-scores, axis=1, kind="stable")


def _check_scores(scores: np.ndarray, layers: Sequence[int]) -> tuple[np.ndarray, float]:
    """Scores as float64 [L, E], and the relative precision that they came in."""
    scores = np.asarray(scores)
    precision = float(np.finfo(scores.dtype).eps) if scores.dtype.kind == "f" else 0.0
    if scores.ndim != 2 or scores.shape[0] != len(layers) or scores.shape[1] == 0:
        raise ValueError(f"scores have shape {list(scores.shape)}; expected [{len(layers)} layers, experts]")
    if len(set(layers)) != len(layers):
        raise ValueError(f"layers repeat a number: {list(layers)}")
    if not np.isfinite(scores).all() or (scores < 0).any():
        row, expert = np.argwhere(~(np.isfinite(scores) & (scores >= 0)))[0]
        raise ValueError(
            f"score of layer {layers[row]}, expert {expert} is {scores[row, expert]}; expected a number ≥ 0"
        )
    return scores.astype(np.float64), precision


def _check_layer(layer: Any, ids: Any, place: str) -> None:
    if isinstance(layer, bool) or not isinstance(layer, int) or layer < 0:
        raise ValueError(f"{place}: {layer!r} is not a decoder layer number (an integer ≥ 0)")
    if not isinstance(ids, list):
        raise ValueError(f"{place} is {json.dumps(ids, default=str)[:60]}; expected a list of expert ids")
    for position, expert in enumerate(ids):
        if isinstance(expert, bool) or not isinstance(expert, int) or expert < 0:
            raise ValueError(f"{place}[{position}] is {expert!r}; expected an expert id (an integer ≥ 0)")
    if len(set(ids)) != len(ids):
        twice = next(e for e in ids if ids.count(e) > 1)
        raise ValueError(f"{place} names expert {twice} twice")


def _parse(document: Any) -> dict[str, Any]:
    shape = '{"experts": {"1": [8, 26]}, "shared_experts": false, "non_expert_modules": false}'
    if not isinstance(document, dict):
        raise ValueError(f"holds a {type(document).__name__}; expected an object like {shape}")
    for key in document:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            raise ValueError(f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {_KEYS}"))
    for key in _KEYS:
        if key not in document:
            raise ValueError(f"key {key!r} is missing; expected an object like {shape}")
    for key in _KEYS[1:]:
        if not isinstance(document[key], bool):
            raise ValueError(f"{key!r} is {document[key]!r}; expected true or false")
    if not isinstance(document["experts"], dict):
        raise ValueError(f"'experts' is a {type(document['experts']).__name__}; expected an object like {shape}")
    experts = {}
    for key, ids in document["experts"].items():
        if not (key.isascii() and key.isdigit()) or str(int(key)) != key:
            raise ValueError(f"experts[{key!r}]: the key is not a decoder layer number")
        _check_layer(int(key), ids, f"experts[{key!r}]")
        experts[int(key)] = ids
    return {**document, "experts": dict(sorted(experts.items()))}


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"key {next(k for k in keys if keys.count(k) > 1)!r} stands there twice")
    return dict(pairs)


def _ranges(numbers: Sequence[int]) -> str:
    """[1, 2, 3, 7] → '1–3, 7'."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in parts)
