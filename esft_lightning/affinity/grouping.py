"""Experts bound together in groups, as the paper does to ask whether finer experts help (its Fig. 7). numpy alone.

Experts that tokens choose together are bound: co-occurrence in a token's top-K is counted over general text, experts
are alike when the rows of that matrix are (cosine), and groups are taken greedily, the most alike first.

Shape letters: T tokens, L MoE layers, E routed experts, K experts per token, G groups of a layer.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from esft_lightning.affinity.selection import ExpertSelection, select_random, select_top_k, select_top_p
from esft_lightning.errors import FileError, SettingError
from esft_lightning.storage import atomic_write

_MOST_SUBSETS = 30_000_000  # 4 of 160 experts are 26 million: about 2 GB while they are sorted
_CHUNK = 16_384  # tokens
_DECIMALS = 12  # similarities closer than this are equal, so that ties are broken alike on every machine


@dataclass(frozen=True)
class ExpertGrouping:
    """Groups of experts, per decoder layer.

    Attributes:
        size: Experts of a group, the same in all layers.
        groups: Decoder layer number → its groups, each a list of expert ids in ascending order; together they hold
            every expert of the layer once.

    Raises:
        ValueError: A group of another size, or an expert that is missing or stands twice.
    """

    size: int
    groups: dict[int, list[list[int]]]

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"size is {self.size!r}; expected the number of experts of a group, at least 1")
        for layer, groups in self.groups.items():
            odd = next((group for group in groups if len(group) != self.size), None)
            if odd is not None:
                raise ValueError(f"groups[{layer}]: the group {odd} has not {self.size} experts")
            members = sorted(expert for group in groups for expert in group)
            if not members or members != list(range(len(members))):
                raise ValueError(
                    f"groups[{layer}]: expected every expert from 0 to {len(members) - 1} once, got {members}"
                )

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name this grouping."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"size": self.size, "groups": {str(layer): groups for layer, groups in sorted(self.groups.items())}}

    @classmethod
    def from_dict(cls, values: Any) -> "ExpertGrouping":
        """What `to_dict` gave.

        Raises:
            ValueError: It is no grouping.
        """
        if not isinstance(values, Mapping) or not {"size", "groups"} <= set(values):
            raise ValueError('no expert grouping; expected {"size": 2, "groups": {"1": [[0, 5], …]}, …}')
        try:
            groups = {
                int(layer): [list(map(int, group)) for group in found] for layer, found in values["groups"].items()
            }
        except (AttributeError, TypeError, OverflowError) as error:
            raise ValueError(f"'groups' is no object of lists of expert ids: {error}") from error
        return cls(values["size"], groups)

    def save(self, path: str | Path, **facts: Any) -> None:
        """Write a JSON file, atomically; `facts` are kept beside the groups."""
        atomic_write(path, (json.dumps({**self.to_dict(), **facts}, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "ExpertGrouping":
        """Read what `save` wrote.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds no grouping; the file is named.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except (ValueError, RecursionError) as error:
            raise FileError(f"{path}: {error}") from error


def co_occurrence(top_k_index: np.ndarray, num_experts: int) -> np.ndarray:
    """How often two experts are chosen for the same token.

    Args:
        top_k_index: Chosen experts, integer [T, K], distinct in each row.
        num_experts: E.

    Returns:
        int64 [E, E], symmetric; the diagonal is how often an expert is chosen at all.
    """
    counts = np.zeros((num_experts, num_experts))
    for start in range(0, len(top_k_index), _CHUNK):
        index = np.asarray(top_k_index[start : start + _CHUNK], dtype=np.int64)
        chosen = np.zeros((len(index), num_experts))
        np.put_along_axis(chosen, index, 1.0, axis=1)
        counts += chosen.T @ chosen
    return counts.astype(np.int64)


def cosine_similarity(counts: np.ndarray) -> np.ndarray:
    """Cosine of every two rows of a co-occurrence matrix, float64 [E, E]; 0 for an expert that was never chosen."""
    rows = np.asarray(counts, dtype=np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return unit @ unit.T


def group_by_co_occurrence(counts: np.ndarray, size: int) -> list[list[int]]:
    """Bind experts that are chosen alike: again and again the `size` remaining experts that are most alike.

    Alike is the mean cosine of two members' rows over all pairs of members. All subsets are scored once; the greedy
    choice is then the first of them, best first, whose members are all free. Equal subsets: lower expert ids first.

    Args:
        counts: Co-occurrence, [E, E]; see `co_occurrence`.
        size: Experts of a group; divides E.

    Returns:
        E / size groups in the order in which they were taken, each with its ids in ascending order.

    Raises:
        ValueError: `size` does not divide E, or there are too many subsets to look at.
    """
    experts = len(counts)
    if counts.shape != (experts, experts):
        raise ValueError(f"co-occurrence has shape {list(counts.shape)}; expected [experts, experts]")
    if size < 1 or experts % size:
        raise SettingError(f"groups of {size} do not divide {experts} experts; choose a divisor of {experts}")
    if size == 1:
        return [[expert] for expert in range(experts)]
    if comb(experts, size) > _MOST_SUBSETS:
        raise SettingError(
            f"{experts} experts have {comb(experts, size):,} subsets of {size}, more than {_MOST_SUBSETS:,}; "
            "choose smaller groups"
        )
    subsets = _subsets(experts, size)  # [size, N], in lexicographic order
    similarity = cosine_similarity(counts)
    alike = np.zeros(subsets.shape[1])
    for first, second in combinations(range(size), 2):
        alike += similarity[subsets[first], subsets[second]]
    subsets = subsets[:, np.argsort(-alike.round(_DECIMALS), kind="stable")]
    groups = []
    for _ in range(experts // size):
        best = subsets[:, 0]
        groups.append(best.tolist())
        taken = np.zeros(experts, dtype=bool)
        taken[best] = True
        subsets = subsets[:, ~taken[subsets].any(axis=0)]
    return groups


def _subsets(experts: int, size: int) -> np.ndarray:
    """All subsets in lexicographic order, int16 [size, N]; grown by one member at a time."""
    grown = np.arange(experts, dtype=np.int16)[None]
    for _ in range(size - 1):
        last = grown[-1].astype(np.int64)
        more = experts - 1 - last  # how many members may follow each
        parents = np.repeat(np.arange(grown.shape[1]), more)
        step = np.arange(len(parents)) - np.repeat(np.cumsum(more) - more, more)
        grown = np.vstack([grown[:, parents], (last[parents] + 1 + step)[None].astype(np.int16)])
    return grown


def group_scores(scores: np.ndarray, layers: Sequence[int], grouping: ExpertGrouping) -> np.ndarray:
    """Affinity of groups: the mean of their members', float64 [L, G], in the order of the layers' groups.

    Raises:
        ValueError: A layer has no groups, or groups of other experts.
    """
    found = []
    for row, layer in enumerate(layers):
        groups = grouping.groups.get(int(layer), [])
        if len(groups) * grouping.size != scores.shape[1]:
            raise SettingError(
                f"layer {layer} has {scores.shape[1]} experts, its groups hold {len(groups) * grouping.size}; "
                "the grouping belongs to another model"
            )
        found.append(np.asarray(scores[row])[np.asarray(groups)].mean(axis=1))
    return np.stack(found)


def select_groups(
    scores: np.ndarray,
    layers: Sequence[int],
    grouping: ExpertGrouping,
    *,
    top_p: float | None = None,
    top_k: int | None = None,
) -> ExpertSelection:
    """Select whole groups by falling affinity, the mean of their members'.

    Every member stands for its group's affinity in the sum that is held against p, so that p means the same at every
    size, and groups of one are selected as `select_top_p` selects experts.

    Args:
        scores: Affinity of experts, [L, E].
        layers: Decoder layer number of each row.
        grouping: The groups of each layer.
        top_p: Take groups until their members' affinities sum to at least this.
        top_k: Or take this many experts in each layer; a multiple of the groups' size.

    Returns:
        The members of the selected groups.

    Raises:
        ValueError: Not exactly one rule, a rule out of range, or a grouping of another model.
    """
    if (top_p is None) == (top_k is None):
        raise SettingError("give either top_p or top_k")
    weights = group_scores(scores, layers, grouping) * grouping.size
    if top_k is None:
        chosen = select_top_p(weights, layers, top_p or 0.0)
    elif top_k % grouping.size:
        raise SettingError(f"top_k is {top_k}; whole groups of {grouping.size} need a multiple of {grouping.size}")
    else:
        chosen = select_top_k(weights, layers, top_k // grouping.size)
    return _members(chosen, grouping)


def select_random_groups(like: ExpertSelection, grouping: ExpertGrouping, seed: int) -> ExpertSelection:
    """As many whole groups per layer as `like` has, drawn at random; see `select_random`."""
    counts = {layer: len(ids) // grouping.size for layer, ids in like.experts.items()}
    drawn = {}
    for layer, count in counts.items():
        drawn |= select_random({layer: count}, len(grouping.groups[layer]), seed).experts
    members = _members(ExpertSelection(drawn), grouping)
    return ExpertSelection(members.experts, like.shared_experts, like.non_expert_modules)


def _members(chosen: ExpertSelection, grouping: ExpertGrouping) -> ExpertSelection:
    """A selection of group numbers as one of experts."""
    experts = {
        layer: [expert for number in numbers for expert in grouping.groups[layer][number]]
        for layer, numbers in chosen.experts.items()
    }
    return ExpertSelection(experts, unreached=chosen.unreached)
