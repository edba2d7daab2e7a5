"""A recorded routing log (`.npz`) → affinity profile. numpy alone; nothing is unpickled.

A log holds three arrays, as in the files that the authors of ESFT released:
`expert_ids` integer [L, T, K], `gate_weights` float [L, T, K], `sample_lengths` integer [samples], which sum to T.

Shape letters: T tokens, L MoE layers, E routed experts, K experts per token.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.errors import FileError, SettingError

_ARRAYS = {"expert_ids": (3, "iu"), "gate_weights": (3, "f"), "sample_lengths": (1, "iu")}


@dataclass(frozen=True, eq=False)
class RoutingLog:
    """Routing of every token of some samples, sample after sample.

    Attributes:
        expert_ids: integer [L, T, K].
        gate_weights: float [L, T, K], gates as applied.
        sample_lengths: integer [samples], tokens of each; they sum to T.
    """

    expert_ids: np.ndarray
    gate_weights: np.ndarray
    sample_lengths: np.ndarray

    def __post_init__(self) -> None:
        for name, (rank, kinds) in _ARRAYS.items():
            array = getattr(self, name)
            if array.ndim != rank or array.dtype.kind not in kinds:
                kind = "float" if kinds == "f" else "integer"
                raise ValueError(
                    f"{name} is {array.dtype} with {array.ndim} dimensions; expected {kind} with {rank} "
                    f"({'[layers, tokens, top_k]' if rank == 3 else '[samples]'})"
                )
        if 0 in self.expert_ids.shape:
            raise ValueError(f"expert_ids has shape {list(self.expert_ids.shape)}: the log is empty")
        if self.expert_ids.shape != self.gate_weights.shape:
            raise ValueError(
                f"gate_weights has shape {list(self.gate_weights.shape)}; "
                f"expected that of expert_ids, {list(self.expert_ids.shape)}"
            )
        if (self.sample_lengths <= 0).any():
            raise ValueError(f"sample_lengths[{np.argmax(self.sample_lengths <= 0)}] is not above 0")
        total, tokens = int(self.sample_lengths.sum(dtype=np.int64)), self.expert_ids.shape[1]
        if total != tokens:
            raise ValueError(f"sample_lengths sum to {total}; expected the number of tokens in expert_ids, {tokens}")
        if self.expert_ids.min() < 0:
            raise ValueError("expert_ids holds a negative id")
        if not np.isfinite(self.gate_weights).all() or self.gate_weights.min() < 0:
            raise ValueError("gate_weights holds a negative or non-finite gate")

    @classmethod
    def load(cls, path: str | Path) -> "RoutingLog":
        """Read a `.npz` log.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no such log; the message names file and array.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                archive = np.load(file, allow_pickle=False)
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise ValueError("holds one array; expected a .npz archive")
                missing = [name for name in _ARRAYS if name not in archive.files]
                if missing:
                    raise ValueError(
                        f"array {missing[0]!r} is missing; expected {', '.join(_ARRAYS)}, found {archive.files}"
                    )
                return cls(**{name: archive[name] for name in _ARRAYS})
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as error:
            raise FileError(f"{path}: not a readable routing log: {error}") from error

    def profile(
        self, *, layer_offset: int = 0, num_experts: int | None = None, samples: slice | None = None
    ) -> AffinityProfile:
        """Sum the log into a profile that holds both scores in both averages.

        Args:
            layer_offset: decoder layer number of the log's first row (the published logs: 1, since layer 0 is dense).
            num_experts: E; default: the highest id in the log plus one.
            samples: which samples to count, e.g. `slice(0, None, 2)` for every second one; default: all.

        Raises:
            ValueError: an id is not below `num_experts`, or no sample is left.
        """
        layers, _, top_k = self.expert_ids.shape
        highest = int(self.expert_ids.max())
        experts = highest + 1 if num_experts is None else num_experts
        if highest >= experts:
            raise ValueError(f"expert_ids holds expert {highest}; expected ids 0 to {experts - 1}")
        ids, gates, lengths = self.expert_ids, self.gate_weights, self.sample_lengths.astype(np.int64)
        if samples is not None:
            chosen = np.zeros(len(lengths), dtype=bool)
            chosen[samples] = True
            if not chosen.any():
                raise SettingError(f"samples={samples} leaves none of {len(lengths)} samples")
            kept = np.repeat(chosen, lengths)
            ids, gates, lengths = ids[:, kept], gates[:, kept], lengths[chosen]
        tokens = int(lengths.sum())
        cell = (ids + (np.arange(layers, dtype=np.int64) * experts)[:, None, None]).reshape(-1)
        gate = gates.reshape(-1).astype(np.float64)
        share = np.broadcast_to(np.repeat(1 / lengths, lengths)[:, None], (layers, tokens, top_k)).reshape(-1)

        def summed(weights: np.ndarray | None) -> np.ndarray:
            return np.bincount(cell, weights, minlength=layers * experts).reshape(layers, experts)

        return AffinityProfile(
            layers=tuple(range(layer_offset, layer_offset + layers)),
            num_experts=experts,
            top_k=top_k,
            token_count=summed(None).astype(np.int64),
            gate_sum=summed(gate),
            sample_token=summed(share),
            sample_gate=summed(share * gate),
            tokens=tokens,
            samples=len(lengths),
            metadata={"source": "routing log", "counting": "all"},
        )


def read_routing_log(
    path: str | Path, *, layer_offset: int = 0, num_experts: int | None = None, samples: slice | None = None
) -> AffinityProfile:
    """Read a `.npz` routing log and sum it; arguments as in `RoutingLog.profile`, errors name the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no routing log, or does not fit the arguments.
    """
    log = RoutingLog.load(path)
    try:
        return log.profile(layer_offset=layer_offset, num_experts=num_experts, samples=samples)
    except ValueError as error:
        raise FileError(f"{path}: {error}") from error
