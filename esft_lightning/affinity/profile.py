"""The affinity profile: sums over one profiling pass, kept in a file, from which every score is made. numpy alone.

One pass serves every selection: the sums hold gate and token scores in both averages. The profile knows what it was
made from by fingerprints in its metadata; how fingerprints are made is not its business.

Shape letters: L MoE layers, E routed experts, K experts per token.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save as serialize

from esft_lightning.affinity.grouping import ExpertGrouping
from esft_lightning.affinity.scores import MEASURED, affinity_scores
from esft_lightning.errors import FileError
from esft_lightning.storage import atomic_write

SCHEMA_VERSION = 1
_HEADER = "esft_affinity_profile"
_SUMS = {"token_count": np.int64, "gate_sum": np.float64, "sample_token": np.float64, "sample_gate": np.float64}
_MEASURED = "measured."


@dataclass(frozen=True, eq=False)
class AffinityProfile:
    """What a model's routers did on a task's data.

    Attributes:
        layers: decoder layer numbers of the MoE layers, [L].
        num_experts: E, routed experts of each layer.
        top_k: K, experts chosen per token.
        token_count: int64 [L, E], tokens that chose the expert.
        gate_sum: float64 [L, E], gates as applied (any scaling factor included), summed over tokens.
        sample_token: float64 [L, E], sum over samples of the mean over a sample's tokens of "chose the expert".
        sample_gate: float64 [L, E], sum over samples of the mean over a sample's tokens of the gate.
        tokens: tokens counted, alike in every layer.
        samples: samples counted.
        metadata: JSON values. Keys that this package reads: `model_fingerprint`, `data_fingerprint`, `counting`
            ("all" real tokens or "response" tokens only), `token_budget`, `gate_function` (how the router makes gates
            of its scores: "softmax", "sigmoid", …), `renormalized` (it divides the K gates of a token by their sum),
            `scaling_factor` (what it multiplies its gates by), `expert_groups`
            (an `ExpertGrouping` as a dictionary: tokens were routed to whole groups). Others are kept.
        measured: score of `MEASURED` → its sum over tokens, float64 [L, E]; empty unless asked for.

    Raises:
        ValueError: shapes, counts or values that do not agree with each other.
    """

    layers: tuple[int, ...]
    num_experts: int
    top_k: int
    token_count: np.ndarray
    gate_sum: np.ndarray
    sample_token: np.ndarray
    sample_gate: np.ndarray
    tokens: int
    samples: int
    metadata: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(int(layer) for layer in self.layers))
        shape = (len(self.layers), self.num_experts)
        if not self.layers or len(set(self.layers)) != len(self.layers):
            raise ValueError(f"layers are {list(self.layers)}; expected distinct decoder layer numbers, at least one")
        if not 1 <= self.top_k <= self.num_experts:
            raise ValueError(f"top_k is {self.top_k}; expected 1 to num_experts ({self.num_experts})")
        if unknown := sorted(set(self.measured) - set(MEASURED)):
            raise ValueError(f"measured scores {unknown} are unknown; expected some of {', '.join(MEASURED)}")
        for name, value in ({name: getattr(self, name) for name in _SUMS} | self.measured).items():
            if value.shape != shape:
                raise ValueError(f"{name} has shape {list(value.shape)}; expected [layers, experts] = {list(shape)}")
            if not np.isfinite(value).all() or (value < 0).any():
                raise ValueError(f"{name} holds a negative or non-finite value; sums of routing are neither")
        chosen = self.token_count.sum(axis=1)
        for layer, count in zip(self.layers, chosen.tolist(), strict=True):
            if count != self.tokens * self.top_k:
                raise ValueError(
                    f"token_count of layer {layer} sums to {count}; "
                    f"expected tokens × top_k = {self.tokens} × {self.top_k} = {self.tokens * self.top_k}"
                )
        if not (self.samples >= 1 and self.tokens >= self.samples):
            raise ValueError(f"{self.tokens} tokens in {self.samples} samples: expected at least one token a sample")
        counting = self.metadata.get("counting", "all")
        if counting not in ("all", "response"):
            raise ValueError(f"metadata 'counting' is {counting!r}; expected 'all' or 'response'")

    def scores(self, score: str, average: str = "token", normalize: bool = False) -> np.ndarray:
        """Affinity float64 [L, E]: `score` "gate" (eq. 6) or "token" (eq. 7); see `affinity_scores`."""
        return affinity_scores(
            **{name: getattr(self, name) for name in _SUMS},
            tokens=self.tokens,
            samples=self.samples,
            top_k=self.top_k,
            score=score,
            average=average,
            normalize=normalize,
            measured=self.measured,
        )

    def plus(self, other: "AffinityProfile") -> "AffinityProfile":
        """The profile of both passes together: sums over disjoint samples add up.

        Args:
            other: A profile of the same model on other samples. This one's metadata is kept.

        Raises:
            ValueError: They differ in layers, experts, top-k or in what is counted.
        """
        for name in ("layers", "num_experts", "top_k"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"profiles differ in {name}: {getattr(self, name)} and {getattr(other, name)}")
        counting = [profile.metadata.get("counting", "all") for profile in (self, other)]
        if counting[0] != counting[1]:
            raise ValueError(f"one profile counts {counting[0]} tokens, the other {counting[1]}")
        if set(self.measured) != set(other.measured):
            raise ValueError(f"one profile measured {sorted(self.measured)}, the other {sorted(other.measured)}")
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMS}
        measured = {name: value + other.measured[name] for name, value in self.measured.items()}
        tokens, samples = self.tokens + other.tokens, self.samples + other.samples
        return replace(self, **sums, measured=measured, tokens=tokens, samples=samples)

    def gate_mass(self) -> np.ndarray:
        """What the K gates of a token sum to, mean over tokens, float64 [L]."""
        return self.gate_sum.sum(axis=1) / self.tokens

    @property
    def gates_renormalized(self) -> bool:
        """Whether the router makes the K gates of every token sum to one constant.

        True where the metadata says so, or where the sums show it: unnormalised softmax gates carry a different mass in
        every layer, renormalised ones the same (1, times any scaling factor) to within rounding. Several families
        renormalise without a word in their config, so a recorded `renormalized: false` does not outweigh the sums.
        """
        mass = self.gate_mass()
        return bool(self.metadata.get("renormalized")) or bool(np.ptp(mass) <= 2e-3 * mass.max() and mass.max() >= 0.99)

    def raw_p_warning(self, score: str, normalize: bool) -> str | None:
        """Why a threshold p on these scores is not the paper's p, or None where it may be."""
        if score != "gate" or normalize:
            return None
        function, scale = self.metadata.get("gate_function", "softmax"), self.metadata.get("scaling_factor", 1.0)
        if self.gates_renormalized:
            what = "renormalises its gates"
        elif function not in ("softmax", "identity"):
            what = f"makes its gates by {function}"
        elif scale != 1.0:
            what = f"multiplies its gates by {scale:g}"
        else:
            return None
        return (
            f"this router {what}: they sum to {self.gate_mass().mean():.3g} per token, where the paper's raw "
            "p = 0.1 was chosen on gates that sum to 0.26–0.53; normalise the scores (--normalize), so that p is a "
            "share of the mass, and choose p anew"
        )

    def differences(self, wanted: Mapping[str, Any]) -> list[str]:
        """Each way in which this profile was made from something else, as a sentence; empty when it matches.

        Args:
            wanted: The metadata that a new pass would record, as far as it matters.
        """
        return [
            f"{key} is {self.metadata[key]!r}, not {value!r}" if key in self.metadata else f"{key} is not recorded"
            for key, value in wanted.items()
            if key not in self.metadata or self.metadata[key] != value
        ]

    def digest(self) -> str:
        """Digest of everything that scores are made from, and of the metadata; 16 hexadecimal digits."""
        facts = [self.layers, self.num_experts, self.top_k, self.tokens, self.samples, self.metadata]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name, value in sorted(({name: getattr(self, name) for name in _SUMS} | self.measured).items()):
            digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, atomically: the sums, what was measured besides, and in its header the rest.

        Raises:
            TypeError: metadata holds what JSON cannot.
        """
        header = {
            "version": SCHEMA_VERSION,
            "layers": list(self.layers),
            "num_experts": self.num_experts,
            "top_k": self.top_k,
            "tokens": self.tokens,
            "samples": self.samples,
            "metadata": self.metadata,
        }
        tensors = {name: np.ascontiguousarray(getattr(self, name), dtype=dtype) for name, dtype in _SUMS.items()}
        tensors |= {_MEASURED + name: np.ascontiguousarray(value) for name, value in self.measured.items()}
        atomic_write(path, serialize(tensors, metadata={_HEADER: json.dumps(header)}))

    @classmethod
    def load(cls, path: str | Path) -> "AffinityProfile":
        """Read what `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no affinity profile, is of another version, or contradicts itself; the file is named.
        """
        path = Path(path)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; expected an affinity profile (a .safetensors file)")
        try:
            with safetensors.safe_open(path, framework="np") as file:
                header = (file.metadata() or {}).get(_HEADER)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except safetensors.SafetensorError as error:
            raise FileError(f"{path}: not a safetensors file, or a damaged one ({error})") from error
        try:
            return cls(**_parse(header, tensors))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise FileError(f"{path}: {error}") from error


def _parse(header: str | None, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    if header is None:
        raise ValueError(f"no affinity profile: its header has no {_HEADER!r}; make one with the verb `profile`")
    fields = json.loads(header)
    if not isinstance(fields, dict) or fields.get("version") != SCHEMA_VERSION:
        version = fields.get("version") if isinstance(fields, dict) else None
        raise ValueError(f"profile version {version!r} is unknown; this release reads {SCHEMA_VERSION}: profile again")
    kinds = {"layers": list, "num_experts": int, "top_k": int, "tokens": int, "samples": int, "metadata": dict}
    for key, kind in kinds.items():
        if not isinstance(fields.get(key), kind):
            raise ValueError(f"header key {key!r} is {fields.get(key)!r}; expected a {kind.__name__}")
    _check_metadata(fields["metadata"])
    for name, dtype in _SUMS.items():
        if name not in tensors:
            raise ValueError(f"tensor {name!r} is missing")
        if tensors[name].dtype != dtype:
            raise ValueError(f"tensor {name!r} is {tensors[name].dtype}; expected {np.dtype(dtype)}")
    measured = {name.removeprefix(_MEASURED): value for name, value in tensors.items() if name.startswith(_MEASURED)}
    return {key: fields[key] for key in kinds} | {name: tensors[name] for name in _SUMS} | {"measured": measured}


def _check_metadata(metadata: dict[str, Any]) -> None:
    """Refuse values that this package would read and cannot."""
    for key, kind in (("gate_function", str), ("scaling_factor", int | float)):
        if key in metadata and not isinstance(metadata[key], kind):
            raise ValueError(f"metadata {key!r} is {metadata[key]!r}; expected a {'text' if kind is str else 'number'}")
    if metadata.get("expert_groups") is not None:
        ExpertGrouping.from_dict(metadata["expert_groups"])
