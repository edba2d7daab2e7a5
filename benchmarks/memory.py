"""Is the memory that `budget` estimates the memory that training takes?

    python -m benchmarks.memory              # all cases: about four minutes of one core, below 3 GiB
    python -m benchmarks.memory --only olmoe # some of them

Each case trains a random model for a few steps with `ExpertFineTuner` and Lightning's Trainer, in a process of its own,
and takes the most resident memory above what the process held before the model was built (a model in miniature has
been trained by then, so that libraries are loaded). The estimate is made from the configuration alone, for CPU kernels.
Fails (exit code 1) where the two differ by more than the tolerance, 15 %.

glibc is told to give freed blocks back at once (`MALLOC_…_THRESHOLD_`), so that the measure is of what is held.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.own_process import in_a_process
from benchmarks.resident import peak_resident_bytes, start_from_here
from esft_lightning.command_parser import CommandParser
from esft_lightning.storage import atomic_write

TOLERANCE = 0.15
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
_STEPS = 2  # in the second one optimizer state and the gradients of the first are there

_SHARED = {"num_hidden_layers": 4, "num_attention_heads": 8, "max_position_embeddings": 2048, "vocab_size": 4096}
SHAPES: dict[str, dict[str, Any]] = {
    # As DeepSeek-V2-Lite: a dense layer first, shared experts, compressed keys and values, unfused attention on a CPU.
    "deepseek": {
        "model_type": "deepseek_v2", **_SHARED, "num_key_value_heads": 8, "hidden_size": 384, "intermediate_size": 1536,
        "moe_intermediate_size": 256, "n_routed_experts": 32, "n_shared_experts": 2, "num_experts_per_tok": 6,
        "first_k_dense_replace": 1, "kv_lora_rank": 128, "q_lora_rank": None, "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32, "v_head_dim": 64, "topk_method": "greedy", "n_group": 1, "topk_group": 1,
    },
    # As OLMoE: no shared experts, fused attention.
    "olmoe": {
        "model_type": "olmoe", **_SHARED, "num_key_value_heads": 8, "hidden_size": 384, "intermediate_size": 256,
        "num_experts": 64, "num_experts_per_tok": 8,
    },
    # As Mixtral: few large experts, grouped queries, and a vocabulary whose logits go through in several chunks.
    "mixtral": {
        "model_type": "mixtral", **_SHARED, "num_key_value_heads": 2, "hidden_size": 384, "intermediate_size": 1024,
        "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 65536,
    },
}  # fmt: skip
_MINIATURE = {
    "hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 128,
}  # fmt: skip
STRATEGIES = ("FullFineTuning", "LoRA", "FrozenExperts", "ESFT")


@dataclass(frozen=True)
class Case:
    """One training whose memory is measured.

    Attributes:
        shape: Name in `SHAPES`.
        strategy: Name in `STRATEGIES`; ESFT trains an eighth of every layer's experts.
        dtype: Of the base's weights.
        gradient_checkpointing: Whether layers are recomputed.
        accumulate: Micro-batches of a step.
        batch_size: Sequences of a micro-batch.
        sequence_length: Tokens of each.
    """

    shape: str
    strategy: str
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    accumulate: int = 1
    batch_size: int = 2
    sequence_length: int = 384

    def __str__(self) -> str:
        extra = (", recomputed" if self.gradient_checkpointing else "") + (", accumulated" * (self.accumulate > 1))
        return f"{self.shape} {self.strategy}, {self.dtype}{extra}"


def cases() -> list[Case]:
    """Every strategy on three shapes, in fp32 and bf16; kept and recomputed, accumulated, several chunks of logits."""
    found = [Case("deepseek", strategy, gradient_checkpointing=on) for strategy in STRATEGIES for on in (False, True)]
    found += [Case("deepseek", strategy, accumulate=2) for strategy in ("FullFineTuning", "ESFT")]
    found += [Case("mixtral", strategy) for strategy in STRATEGIES]
    # Short sequences: a CPU without bf16 units takes ten times as long for them.
    found += [Case("olmoe", strategy, "bfloat16", sequence_length=96) for strategy in STRATEGIES]
    return [*found, Case("olmoe", "ESFT", "bfloat16", gradient_checkpointing=True, sequence_length=96)]


def estimate(case: Case, folder: Path) -> int:
    """What `budget` says that the case takes, bytes."""
    from esft_lightning.budget.candidates import Candidate, balanced_shares
    from esft_lightning.budget.meta_model import meta_model
    from esft_lightning.budget.reckoning import reckon
    from esft_lightning.budget.step import TrainingShape

    model = meta_model(folder, dtype=case.dtype)  # type: ignore[arg-type]
    shape = TrainingShape(case.batch_size, case.sequence_length, case.accumulate > 1, kernels="cpu")
    selection = selected(model)
    row = Candidate(case.strategy, strategy_of(case, folder), selection, balanced_shares(model, selection))
    budget = reckon(model, [row], shape)[0]
    memory = budget.memory_checkpointed if case.gradient_checkpointing else budget.memory
    assert memory is not None
    return memory.total


def main(argv: list[str] | None = None) -> int:
    """Measure, print, compare; 1 where an estimate is off by more than the tolerance."""
    parser = CommandParser(prog="python -m benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="WORD", nargs="+", default=[], help="cases whose name holds all these words")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write estimates and measurements there")
    args = parser.parse_args(argv)
    if any(os.environ.get(key) != value for key, value in _MALLOC.items()):
        # The allocator reads them when a process starts.
        os.execvpe(sys.executable, [sys.executable, "-m", "benchmarks.memory", *(argv or sys.argv[1:])],
                   {**os.environ, **_MALLOC, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})  # fmt: skip
    _quiet()
    chosen = [case for case in cases() if all(word in str(case) for word in args.only)]
    if not chosen:
        parser.error(f"no case holds {args.only}; there are: " + "; ".join(map(str, cases())))
    rows, worst = [], 0.0
    print(f"{'case':<52}{'estimate MB':>13}{'measured MB':>13}{'deviation':>11}")
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: write_config(Path(folder) / name, sizes) for name, sizes in SHAPES.items()}
        for name, sizes in SHAPES.items():
            write_config(Path(folder) / f"{name}-miniature", {**sizes, **_MINIATURE})
        for case in chosen:
            expected, measured = estimate(case, folders[case.shape]), measure(case, folders[case.shape])
            deviation = expected / measured - 1
            worst = max(worst, abs(deviation))
            rows.append({"case": vars(case), "estimate": expected, "measured": measured})
            print(f"{case!s:<52}{expected / 1e6:>13,.1f}{measured / 1e6:>13,.1f}{deviation:>+11.1%}", flush=True)
    if args.json is not None:
        atomic_write(args.json, (json.dumps(rows, indent=2) + "\n").encode())
    print(f"largest deviation {worst:.1%}; tolerance {TOLERANCE:.0%}")
    return int(worst > TOLERANCE)


def measure(case: Case, folder: Path) -> int:
    """Train the case in a process of its own; its most resident bytes above those before the model was built.

    Raises:
        RuntimeError: If the process fails; its traceback is on standard error.
    """
    try:
        return in_a_process(_work, case, folder, start="fork")
    except RuntimeError as error:
        raise RuntimeError(f"{case}: {error}") from None


def _work(case: Case, folder: Path) -> int:
    import torch

    torch.set_num_threads(1)
    train(case, folder.with_name(f"{folder.name}-miniature"))
    gc.collect()
    before = start_from_here()
    train(case, folder)
    return peak_resident_bytes() - before


def train(case: Case, folder: Path, accelerator: str = "cpu") -> None:
    """A few steps of the case as `fit` makes them, on random tokens.

    Args:
        case: What trains.
        folder: Its model.
        accelerator: As Lightning names it; this module's own measure is of the host's memory, hence of the CPU.
    """
    import torch
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    from esft_lightning.training.module import ExpertFineTuner

    module = ExpertFineTuner(
        strategy_of(case, folder),
        base=str(folder),
        dtype=case.dtype,  # type: ignore[arg-type]
        random_weights=True,
        gradient_checkpointing=case.gradient_checkpointing,
    )
    ids = torch.randint(0, 128, (_STEPS * case.accumulate * case.batch_size, case.sequence_length))
    rows = [{"input_ids": row, "labels": row} for row in ids]
    trainer = Trainer(
        accelerator=accelerator, devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_steps=_STEPS, accumulate_grad_batches=case.accumulate, gradient_clip_val=1.0,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, DataLoader(rows, batch_size=case.batch_size))  # type: ignore[arg-type]


def strategy_of(case: Case, folder: Path) -> Any:
    """The case's strategy; ESFT reads its experts from the model's folder."""
    from esft_lightning import strategies

    if case.strategy == "ESFT":
        return strategies.ESFT(expert_config=folder / "expert_cfg.json")
    return getattr(strategies, case.strategy)()


def selected(model: Any) -> Any:
    """An eighth of every layer's experts, spread over their ids."""
    from esft_lightning.affinity import ExpertSelection
    from esft_lightning.moe import find_moe_layers

    return ExpertSelection({entry.layer: list(range(0, entry.num_experts, 8)) for entry in find_moe_layers(model)})


def write_config(folder: Path, sizes: dict[str, Any]) -> Path:
    """A model folder with a configuration and a selection, and no weights."""
    from transformers import AutoConfig

    from esft_lightning.budget.meta_model import meta_model

    settings = {**sizes, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    AutoConfig.for_model(settings.pop("model_type"), **settings).save_pretrained(folder)
    selected(meta_model(folder)).save(folder / "expert_cfg.json")
    return folder


def _quiet() -> None:
    """Let the table alone be printed. Importing Lightning sets the level of its loggers, so it comes first."""
    import esft_lightning.training.module  # noqa: F401  (and no case has to load it after the fork)

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
