"""The contenders by name: ours, what a user would do instead, and the least work."""

from __future__ import annotations

from benchmarks.contenders import Contender, GradientMask, PerExpertLoop, Strategy
from benchmarks.floor import Floor
from benchmarks.targets import ESFT, FLOOR, FROZEN, FULL, LOOP, MASK, ROUTED_LORA, STRICT_FLOOR
from esft_lightning.strategies import ESFTToken, FrozenExperts, FullFineTuning, LoRA, RelevantExpertLoRA


def esft(label: str = ESFT) -> Strategy:
    """The selected experts in two banks; `ESFTGate`, `ESFTToken` and `RandomExperts` differ only in the selection."""
    return Strategy(label, ESFTToken)


def full() -> Strategy:
    """Every parameter, on the stock grouped matmul."""
    return Strategy(FULL, FullFineTuning)


def frozen() -> Floor:
    """Every weight frozen, activation gradients down to the embeddings, on the stock grouped matmul."""
    return Floor(FROZEN, with_update=False)


def floor(label: str = FLOOR) -> Floor:
    """The frozen model, and weight gradients and update of the selected experts alone."""
    return Floor(label)


def mask() -> GradientMask:
    """Every expert's gradient, and zeros in place of those that are not selected."""
    return GradientMask(MASK)


def routed_lora() -> Strategy:
    """LoRA by peft's `target_parameters` on the fused tensors of the experts."""
    return Strategy(ROUTED_LORA, lambda: LoRA(parts=("routed experts",)))


def ours() -> list[Contender]:
    """This library's strategies and the least work, in the order of the table."""
    return [
        esft(),
        Strategy("RelevantExpertLoRA", RelevantExpertLoRA),
        Strategy("FrozenExperts", FrozenExperts),
        Strategy("LoRA", LoRA),
        full(),
        frozen(),
        floor(),
        Floor(STRICT_FLOOR, from_first_trained=True),
    ]


def alternatives() -> list[Contender]:
    """ESFT and what a user would do instead; apart from `ours`, since all of a list are in memory at once."""
    return [esft(), full(), mask(), routed_lora(), PerExpertLoop(LOOP)]


LINE_UPS = {"steps": ours, "alternatives": alternatives}
