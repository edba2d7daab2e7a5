"""What score tables say about specialisation: concentration, overlap, entropy. numpy alone; draws and reads nothing.

Every function takes scores [L, E] as `AffinityProfile.scores` gives them; scale does not matter, layers are normalised
here. Shape letters: L MoE layers, E routed experts, N tasks.
"""

from collections.abc import Mapping

import numpy as np


def gate_concentration(scores: np.ndarray) -> np.ndarray:
    """Share of each layer's affinity by rank, [L, E]: column 0 is the layer's strongest expert (the paper's Fig. 2).

    Rows sum to 1 (a layer without any affinity: 0). A uniform router gives 1/E everywhere.
    """
    shares = _shares(scores)
    return -np.sort(-shares, axis=1)


def top_mass(scores: np.ndarray, k: int) -> np.ndarray:
    """Share of each layer's affinity that its k strongest experts carry, [L]; uniform: k/E."""
    _check_k(scores, k)
    return gate_concentration(scores)[:, :k].sum(axis=1)


def top_expert_overlap(first: np.ndarray, second: np.ndarray, k: int) -> float:
    """How many of the top-k experts two score tables share, mean over layers, 0 to k (ties: lower id first).

    Raises:
        ValueError: the tables differ in shape, or k is out of range.
    """
    if first.shape != second.shape:
        raise ValueError(f"score tables have shapes {list(first.shape)} and {list(second.shape)}; expected equal ones")
    return float((_top_members(first, k) & _top_members(second, k)).sum(axis=1).mean())


def overlap_matrix(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], k: int
) -> tuple[list[str], np.ndarray]:
    """Shared top-k experts between tasks, from two independent samples of each (the paper's Fig. 3).

    Args:
        first: task → scores [L, E] on one half of its data.
        second: the same tasks on the other half.
        k: experts per layer that are compared (the paper: the model's top-k).

    Returns:
        Task names, and [N, N]: on the diagonal a task's two halves; elsewhere the mean of the two ways to pair halves
        of different tasks, so that the matrix is symmetric. Compare with `chance_overlap`.

    Raises:
        ValueError: the halves do not hold the same tasks, or tables differ in shape.
    """
    if set(first) != set(second):
        raise ValueError(f"the halves hold different tasks: {sorted(first)} and {sorted(second)}")
    tasks = list(first)
    one_sided = np.array([[top_expert_overlap(first[a], second[b], k) for b in tasks] for a in tasks])
    return tasks, (one_sided + one_sided.T) / 2


def specific_mass(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], k: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """How much of a task's affinity lies on its own top-k experts, and how much of the other tasks' lies there.

    A high share alone does not show that experts belong to a task: routers that know nothing may send every task to the
    same few experts, since hidden states share a direction. What is specific to the task is the difference of the two.
    A task's experts are those of its second sample, so that they are not chosen by the noise of the sample that is
    measured.

    Args:
        first: task → scores [L, E] on one half of its data: what is measured.
        second: the same tasks on the other half: whose top-k experts are meant.
        k: experts per layer.

    Returns:
        task → own share [L], Σ_{e ∈ top-k of second[t]} first[t][l, e], and task → others' share [L], the mean over
        tasks u ≠ t of Σ_{e ∈ top-k of second[t]} first[u][l, e]; layers normalised to 1.

    Raises:
        ValueError: the halves do not hold the same tasks, at least two, or tables differ in shape.
    """
    if set(first) != set(second) or len(first) < 2:
        raise ValueError(f"expected the same tasks in both halves, at least two: {sorted(first)} and {sorted(second)}")
    shares = {task: _shares(scores) for task, scores in first.items()}
    own, others = {}, {}
    for task in first:
        members = _top_members(second[task], k)
        if any(members.shape != entry.shape for entry in shares.values()):
            raise ValueError(f"score tables differ in shape from that of {task}, {list(members.shape)}")
        on_members = {name: (entry * members).sum(axis=1) for name, entry in shares.items()}
        own[task] = on_members.pop(task)
        others[task] = np.mean(list(on_members.values()), axis=0)
    return own, others


def chance_overlap(k: int, num_experts: int) -> float:
    """Experts that two independent uniform draws of k out of E share on average: k²/E."""
    return k * k / num_experts


def routing_entropy(scores: np.ndarray, *, relative: bool = False) -> np.ndarray:
    """Shannon entropy of each layer's affinity, [L], in bits: log2 E for a uniform router, 0 for a single expert.

    `relative=True` divides by log2 E, for a value between 0 and 1 (a layer of one expert: 0).
    """
    shares = _shares(scores)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(axis=1) + 0.0  # + 0.0: no negative zero
    if relative and shares.shape[1] > 1:
        return entropy / np.log2(shares.shape[1])
    return entropy


def _shares(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"scores have shape {list(scores.shape)}; expected [layers, experts]")
    total = scores.sum(axis=1, keepdims=True)
    return scores / np.where(total > 0, total, 1.0)


def _check_k(scores: np.ndarray, k: int) -> None:
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k={k} is out of range; expected 1 to {scores.shape[1]}, the number of experts")


def _top_members(scores: np.ndarray, k: int) -> np.ndarray:
    """Boolean [L, E]: which experts are in the layer's top k."""
    _check_k(scores, k)
    members = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(members, np.argsort(-scores, axis=1, kind="stable")[:, :k], True, axis=1)
    return members
