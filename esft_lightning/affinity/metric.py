"""`ExpertAffinity`: routing of a model, batch by batch and rank by rank, summed into affinity scores.

It knows routing as (top_k_index, top_k_weights) per layer; where that comes from, and which tokens were kept, it does
not. Ranks, resets and devices are torchmetrics' business.

Shape letters: T kept tokens, L MoE layers, E routed experts, K experts per token.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric

from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.affinity.scores import MEASURED, affinity_scores, check_choices

_STATE = "measured_"


class LayerRouting(Protocol):
    """What one MoE layer did in one forward pass: expert ids [T, K] and the gates as applied [T, K]."""

    @property
    def top_k_index(self) -> Tensor:
        """Expert ids, integer [T, K]."""
        ...

    @property
    def top_k_weights(self) -> Tensor:
        """Gates as applied, [T, K]."""
        ...


class ExpertAffinity(Metric):
    """Affinity of a task for every routed expert: average gate score (eq. 6) or token selection ratio (eq. 7).

    The states hold what both scores and both averages need, whatever `score` and `average` say `compute` returns: one
    pass serves every selection (see `profile`). An expert counts as chosen when its id is among a token's K, also where
    its gate rounded to zero. Sums are int64 and float64, so that 2^17 tokens in bf16 lose nothing to the order of
    addition. `update` waits for no device: it reads nothing back.

    Args:
        layers: decoder layer numbers of the MoE layers, [L].
        num_experts: E, routed experts of each layer.
        top_k: K, experts chosen per token.
        score: `gate` or `token`; what `compute` returns.
        average: `token` (each token counts once) or `sample` (mean over each sample first).
        normalize: divide each layer's scores by their sum.
        measured: scores of `MEASURED` that `update` will be given, too.
        kwargs: torchmetrics' own, e.g. `sync_on_compute`, `process_group`.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    token_count: Tensor
    gate_sum: Tensor
    sample_token: Tensor
    sample_gate: Tensor
    tokens: Tensor
    samples: Tensor

    def __init__(
        self,
        layers: Sequence[int],
        num_experts: int,
        top_k: int,
        score: str = "gate",
        average: str = "token",
        normalize: bool = False,
        measured: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choices(score, average)
        if not layers or len(set(layers)) != len(layers):
            raise ValueError(f"layers are {list(layers)}; expected distinct decoder layer numbers, at least one")
        if not 1 <= top_k <= num_experts:
            raise ValueError(f"top_k is {top_k}; expected 1 to num_experts ({num_experts})")
        self.layers = tuple(layers)
        self.num_experts = num_experts
        self.top_k = top_k
        self.score = score
        self.average = average
        self.normalize = normalize
        if unknown := sorted(set(measured) - set(MEASURED)):
            raise ValueError(f"measured scores {unknown} are unknown; expected some of {', '.join(MEASURED)}")
        self.measured = tuple(measured)
        shape = (len(self.layers), num_experts)
        self.add_state("token_count", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("gate_sum", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("sample_token", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("sample_gate", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        for name in self.measured:
            self.add_state(_STATE + name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("tokens", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(
        self,
        routing: Mapping[int, LayerRouting],
        sample_ids: Tensor | None = None,
        measured: Mapping[int, Mapping[str, Tensor]] | None = None,
    ) -> None:
        """Add one batch.

        Args:
            routing: decoder layer number → its routing of the T kept tokens; other layers are ignored.
            sample_ids: integer [T], the sample of each kept token; any numbers that differ between the samples of this
                batch, in any order. None: all tokens are one sample. A sample lies whole within one call.
            measured: decoder layer number → score of `measured` → its value for each kept token and expert, [T, K].

        Raises:
            ValueError: a layer is missing, shapes do not agree, or a score that was asked for was not measured.
        """
        tokens = self._check(routing, sample_ids)
        if tokens == 0:
            return
        device = self.token_count.device
        # [L, T·K]: the experts of token t fill columns t·K … t·K+K−1
        index = torch.stack([routing[n].top_k_index.to(device, torch.int64).reshape(-1) for n in self.layers])
        gates = torch.stack([routing[n].top_k_weights.to(device, torch.float64).reshape(-1) for n in self.layers])
        share, samples = _sample_shares(sample_ids, tokens, device)
        share = share.repeat_interleave(self.top_k).expand_as(gates)

        self.token_count = self.token_count.scatter_add(1, index, torch.ones_like(index))
        self.gate_sum = self.gate_sum.scatter_add(1, index, gates)
        self.sample_token = self.sample_token.scatter_add(1, index, share)
        self.sample_gate = self.sample_gate.scatter_add(1, index, share * gates)
        for name in self.measured:
            try:
                values = torch.stack([(measured or {})[n][name].to(device, torch.float64) for n in self.layers])
            except KeyError as error:
                raise ValueError(f"{name!r} was asked for, and update was not given it for layer {error}") from error
            setattr(self, _STATE + name, getattr(self, _STATE + name).scatter_add(1, index, values.flatten(1)))
        self.tokens = self.tokens + tokens
        self.samples = self.samples + samples

    def compute(self) -> Tensor:
        """Scores float64 [L, E], as `score`, `average` and `normalize` say.

        Raises:
            ValueError: no token was counted on any rank.
        """
        return affinity_scores(
            token_count=self.token_count.to(torch.float64),
            gate_sum=self.gate_sum,
            sample_token=self.sample_token,
            sample_gate=self.sample_gate,
            tokens=int(self.tokens),
            samples=int(self.samples),
            top_k=self.top_k,
            score=self.score,
            average=self.average,
            normalize=self.normalize,
            measured={name: getattr(self, _STATE + name) for name in self.measured},
        )

    def profile(self, **metadata: Any) -> AffinityProfile:
        """Everything counted so far, on all ranks, as a profile; `metadata` as in `AffinityProfile`.

        A collective call: every rank makes it and gets the same profile. Counting may go on afterwards.

        Raises:
            ValueError: no token was counted on any rank.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            process_group=self.process_group,
            should_sync=not self._is_synced,
            distributed_available=self.distributed_available_fn,
        ):
            tokens = int(self.tokens)
            if tokens == 0:
                raise ValueError("no token was counted, so there is no profile: call update with at least one token")
            return AffinityProfile(
                layers=self.layers,
                num_experts=self.num_experts,
                top_k=self.top_k,
                token_count=self.token_count.cpu().numpy().copy(),
                gate_sum=self.gate_sum.cpu().numpy().copy(),
                sample_token=self.sample_token.cpu().numpy().copy(),
                sample_gate=self.sample_gate.cpu().numpy().copy(),
                tokens=tokens,
                samples=int(self.samples),
                metadata=metadata,
                measured={name: getattr(self, _STATE + name).cpu().numpy().copy() for name in self.measured},
            )

    def _apply(self, fn: Callable, exclude_state: Sequence[str] = "") -> Module:
        # torchmetrics keeps `.half()` and `.float()` away from states, but not `.to(torch.bfloat16)` of a module around
        # this one, which would round the sums and then break `update`: let the states change device, never type.
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(move, exclude_state)

    def _check(self, routing: Mapping[int, LayerRouting], sample_ids: Tensor | None) -> int:
        """T, after checking by shapes alone (no device is waited for)."""
        missing = [layer for layer in self.layers if layer not in routing]
        if missing:
            raise ValueError(
                f"routing of layer {missing[0]} is missing; expected layers {list(self.layers)}, got {sorted(routing)}"
            )
        tokens = routing[self.layers[0]].top_k_index.shape[0]
        for layer in self.layers:
            for name in ("top_k_index", "top_k_weights"):
                shape = tuple(getattr(routing[layer], name).shape)
                if shape != (tokens, self.top_k):
                    raise ValueError(
                        f"layer {layer}: {name} has shape {list(shape)}; "
                        f"expected [tokens, top_k] = [{tokens}, {self.top_k}]"
                    )
        if sample_ids is not None and tuple(sample_ids.shape) != (tokens,):
            raise ValueError(
                f"sample_ids has shape {list(sample_ids.shape)}; expected one id per kept token, [{tokens}]"
            )
        return tokens


def _sample_shares(sample_ids: Tensor | None, tokens: int, device: torch.device) -> tuple[Tensor, Tensor | int]:
    """1 / length of its sample for every token, float64 [T], and the number of samples.

    `torch.unique` would do it, but its output's size makes the host wait; sorting and counting steps does not.
    """
    if sample_ids is None:
        return torch.full((tokens,), 1 / tokens, dtype=torch.float64, device=device), 1
    ordered, position = sample_ids.to(device).sort()
    number = torch.zeros_like(position)  # samples numbered 0, 1, … in sorted order
    number[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
    lengths = torch.zeros_like(position).scatter_add(0, number, torch.ones_like(number))
    share = torch.empty(tokens, dtype=torch.float64, device=device)
    share[position] = 1 / lengths[number].to(torch.float64)
    return share, number[-1] + 1
