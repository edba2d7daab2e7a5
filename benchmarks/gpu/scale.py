"""How large the parts are: `full` for a GPU, `small` for a CPU in three minutes, `least` to show that all runs."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Scale:
    """Sizes of every part.

    Attributes:
        name: On the command line.
        hidden: Hidden size of the layers that are proven right.
        intermediate: Intermediate size of their experts.
        experts: Their routed experts.
        tokens: Tokens that go through them.
        published: Whether speed is measured on published layers; else on layers of the sizes above.
        rows: Sequences of a measured step.
        sequence: Tokens of each.
        steps: Measured steps.
        whole_layers: Layers of the whole model; OLMoE-1B-7B has 16.
        profile_tokens: Tokens of a profile that is timed.
        pretraining_steps: Steps of the embedded model's pretraining.
        pretraining_tokens: Tokens of each.
        compare: Options of the verb `compare`.
    """

    name: str
    hidden: int
    intermediate: int
    experts: int
    tokens: int
    published: bool
    rows: int
    sequence: int
    steps: int
    whole_layers: int
    profile_tokens: int
    pretraining_steps: int
    pretraining_tokens: int
    compare: tuple[str, ...]


FULL = Scale(
    name="full", hidden=1024, intermediate=512, experts=64, tokens=2048, published=True, rows=2, sequence=4096, steps=8,
    whole_layers=16, profile_tokens=2**17, pretraining_steps=60, pretraining_tokens=49_152,
    compare=("--quick", "--tasks", "intent", "--jobs", "4"),
)  # fmt: skip
SMALL = Scale(
    name="small", hidden=128, intermediate=64, experts=16, tokens=96, published=False, rows=2, sequence=64, steps=2,
    whole_layers=3, profile_tokens=2**11, pretraining_steps=3, pretraining_tokens=3072,
    compare=("--quick", "--tasks", "intent", "--strategies", "ESFTToken", "--steps", "4", "--limit", "4",
             "--general-limit", "2", "--jobs", "1"),
)  # fmt: skip
LEAST = replace(
    SMALL, name="least", hidden=64, intermediate=32, experts=8, tokens=32, sequence=32, steps=1, whole_layers=2,
    profile_tokens=256, pretraining_steps=1,
)  # fmt: skip
SCALES = {scale.name: scale for scale in (FULL, SMALL, LEAST)}
