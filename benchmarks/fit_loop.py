"""What does `fit` cost over a bare PyTorch loop that takes the same steps?

Both read the same loader from its start, clip at 1.0 and step fused AdamW; `fit` has the callbacks, the logger and the
progress of the command line around it, and is timed from the first batch to the last.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback

from benchmarks.contenders import adamw
from benchmarks.shapes import TINY, build_model, make_batch, most_used, share_of
from benchmarks.timing import clock
from esft_lightning.affinity import ExpertSelection
from esft_lightning.commands.lightning_cli import FineTuningCLI, make_cli
from esft_lightning.data.host_side import known_on_host
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.strategies import ESFTToken

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class _Clock(Callback):
    """Seconds from the start of training to the end of its last batch; the last callback."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start."""
        self.started = clock(pl_module.device)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the time."""
        if trainer.global_step == trainer.max_steps:
            self.seconds = clock(pl_module.device) - self.started


def measure(*, quick: bool, threads: int) -> dict[str, Any]:
    """Measure both in turn, in one process, on the embedded model.

    Args:
        quick: Few steps, once.
        threads: Threads of torch.

    Returns:
        `steps` of a run, and seconds of every run of `fit` and `bare`.
    """
    torch.set_num_threads(threads)
    steps = 3 if quick else 40
    model = build_model(TINY)
    selection = ExpertSelection(dict(most_used(model, make_batch(TINY), share_of(TINY, 0.1))))
    seconds: dict[str, list[float]] = {"fit": [], "bare": []}
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        experts = Path(folder) / "expert_cfg.json"
        selection.save(experts)
        for turn in range(1 if quick else 13):
            for name in ("fit", "bare")[:: 1 if turn % 2 else -1]:
                cli = _command_line(folder, experts, steps)
                taken, losses[name] = (_fit if name == "fit" else _bare)(cli, steps)
                if turn or quick:
                    seconds[name].append(taken)
    if abs(losses["fit"] - losses["bare"]) > 1e-3 * abs(losses["bare"]):
        raise RuntimeError(f"fit and the bare loop did not take the same steps: last losses {losses}")
    return {"steps": steps, "losses": losses, **seconds}


def _command_line(folder: str, experts: Path, steps: int) -> FineTuningCLI:
    files = [part for name in ("models/tiny", "tasks/intent") for part in ("-c", str(_CONFIGS / f"{name}.yaml"))]
    options = {
        "model.strategy": "ESFTToken", "model.strategy.expert_config": str(experts), "trainer.max_steps": str(steps),
        "trainer.limit_val_batches": "0", "trainer.default_root_dir": folder, "data.train_rows": "600",
    }  # fmt: skip
    return make_cli([*files, *(f"--{key}={value}" for key, value in options.items())], run=False)


def _fit(cli: FineTuningCLI, steps: int) -> tuple[float, float]:
    """Seconds and last loss of `fit`."""
    clock = _Clock()
    cli.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return clock.seconds, float(cli.trainer.callback_metrics["train/loss"])


def _bare(cli: FineTuningCLI, steps: int) -> tuple[float, float]:
    """Seconds and last loss of a plain loop over the same steps."""
    data, module = cli.datamodule, cli.model
    data.setup("fit")
    strategy: ESFTToken = module.strategy
    device = cli.trainer.strategy.root_device
    model = strategy.apply(module.load_base().to(device), module.selection).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = adamw(trained)
    for group in optimizer.param_groups:
        group["lr"] = module.learning_rate
    loader = data.train_dataloader()
    done, last, epoch = 0, 0.0, 0
    started = clock(device)
    token_loss = LabelledTokenLoss(model)  # looks at the model's head once, as `fit` does at its first step
    while done < steps:
        loader.set_epoch(epoch)
        for batch in loader:
            result = token_loss(move_data_to_device(known_on_host(batch, pin=device.type == "cuda"), device))
            loss = result.total / result.tokens
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            last, done = float(loss.detach()), done + 1
            if done == steps:
                break
        epoch += 1
    return clock(device) - started, last
