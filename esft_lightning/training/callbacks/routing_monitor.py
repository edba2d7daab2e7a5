"""Routing as TensorBoard shows it: which experts the task uses, which of them are trained, how spread the routing is.

`L` MoE layers, `E` routed experts, `T` kept tokens.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from esft_lightning.affinity.metric import ExpertAffinity
from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.affinity.selection import ExpertSelection
from esft_lightning.errors import SettingError
from esft_lightning.moe import RoutingTap, find_moe_layers
from esft_lightning.profiling.measurement import measure_affinity
from esft_lightning.training.callbacks.affinity_profiler import over_ranks
from esft_lightning.training.callbacks.fine_tuner import fine_tuner
from esft_lightning.training.module import ExpertFineTuner


class RoutingMonitor(Callback):
    """Taps the routers during validation, and the profile before training.

    Logs `routing/entropy` (mean over layers, 1 = uniform), `routing/entropy_layer_N`, `routing/drift` (how far routing
    has moved from the base's, on the same batches), `routing/trained_share` (share of the experts' work done by trained
    experts), and the heatmaps `routing/profile` and `routing/validation` with the
    selected experts marked.
    """

    def __init__(self, validation_batches: int = 8) -> None:
        """Set how much is tapped.

        Args:
            validation_batches: Batches of each validation whose routing is read; 0 reads none.

        Raises:
            SettingError: If the number is below 0.
        """
        if validation_batches < 0:
            raise SettingError(f"validation_batches must be at least 0, got {validation_batches}")
        self.validation_batches = validation_batches
        self._tap: RoutingTap | None = None
        self._metric: ExpertAffinity | None = None
        self._open = ExitStack()
        self._routing: dict[int, Any] = {}
        self._base: AffinityProfile | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that is not ExpertFineTuner."""
        fine_tuner(self, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the profile that the selection was made from; read the base's routing on the validation batches."""
        # on resume the base's weights are no longer there to be read where they train in place
        if self.validation_batches and trainer.ckpt_path is None and isinstance(pl_module, ExpertFineTuner):
            self._base = self._read_base(trainer, pl_module)

        if isinstance(pl_module, ExpertFineTuner) and pl_module.profile is not None:
            _log_picture(trainer, "routing/profile", pl_module.profile, pl_module.selection)

    def _read_base(self, trainer: Trainer, module: ExpertFineTuner) -> AffinityProfile | None:
        """Routing of the untouched model on the batches that validation will read; None where there are none."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        loader = data.val_dataloader() if data is not None else None
        if not loader:
            return None
        with torch.random.fork_rng():  # an iterator draws from the generator that training uses
            batches = islice(loader, self.validation_batches)
            # counted over all ranks: one may have no row of its own
            return measure_affinity(module.model, batches, token_budget=2**62, **over_ranks(trainer))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Open the tap."""
        if (
            trainer.sanity_checking
            or batch_idx >= self.validation_batches
            or not isinstance(pl_module, ExpertFineTuner)
        ):
            return
        if self._tap is None:
            _ = pl_module.token_loss  # made now, since making it is a pass of its own, which is not validation's
            self._tap = RoutingTap(pl_module.model)
        # Two waits for the device in each tapped batch, to count the mask; six numbers are read when validation ends.
        self._routing = self._open.enter_context(self._tap.record(batch["token_mask"]))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Add up the batch's routing and close the tap."""
        self._open.close()
        if not self._routing or not isinstance(pl_module, ExpertFineTuner):
            return
        if self._metric is None:
            layers = find_moe_layers(pl_module.model)
            top_k = self._routing[layers[0].layer].top_k_index.shape[1]
            self._metric = ExpertAffinity([e.layer for e in layers], layers[0].num_experts, top_k).to(pl_module.device)
        self._metric.update(self._routing, batch["sample_ids"][batch["token_mask"]])
        self._routing = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log entropy, the trained experts' share of the work, and the heatmap."""
        tapped = self.validation_batches > 0 and not trainer.sanity_checking
        if not tapped or self._metric is None or not isinstance(pl_module, ExpertFineTuner):
            return
        profile = self._metric.profile()
        self._metric.reset()
        if trainer.is_global_zero:
            values = routing_numbers(profile, pl_module.selection, self._base)
            for logger in trainer.loggers:
                logger.log_metrics(values, trainer.global_step)
            _log_picture(trainer, "routing/validation", profile, pl_module.selection)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the tap."""
        self._open.close()


def routing_numbers(
    profile: AffinityProfile, selection: ExpertSelection | None, base: AffinityProfile | None = None
) -> dict[str, float]:
    """Entropy of each layer's routing, how far it is from the base's, and how much of it goes to trained experts.

    Args:
        profile: Routing added up.
        selection: The trained experts, if any were selected.
        base: The base's routing of the same tokens.

    Returns:
        Metric name to value; entropy is that of the token selection ratio over log E, so 1 is uniform; drift is the
        total variation distance of the token selection ratios from the base's, mean over layers, in [0, 1].
    """
    share = profile.scores("token", average="token")  # [L, E], sums to 1 per layer
    logs = np.log(np.where(share > 0, share, 1.0))
    entropy = -(share * logs).sum(axis=1) / np.log(max(profile.num_experts, 2))
    numbers = {f"routing/entropy_layer_{n}": float(e) for n, e in zip(profile.layers, entropy, strict=True)}
    numbers["routing/entropy"] = float(entropy.mean())
    if base is not None and base.layers == profile.layers:
        moved = np.abs(share - base.scores("token", average="token")).sum(axis=1) / 2
        numbers["routing/drift"] = float(moved.mean())
    if selection is not None and selection.experts:
        rows = {layer: row for row, layer in enumerate(profile.layers)}
        trained = sum(share[rows[layer], ids].sum() for layer, ids in selection.experts.items() if layer in rows)
        numbers["routing/trained_share"] = float(trained) / len(profile.layers)
    return numbers


def affinity_figure(profile: AffinityProfile, selection: ExpertSelection | None = None, score: str = "gate") -> Any:
    """Heatmap of affinity, a row per layer and a column per expert, with the selected experts marked.

    Args:
        profile: Affinity of each layer's experts.
        selection: Experts to mark.
        score: `gate` or `token`.

    Returns:
        A matplotlib figure that belongs to no window.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = profile.scores(score, average="token")
    layers, experts = scores.shape
    figure = Figure(figsize=(min(14.0, 2.0 + 0.1 * experts), min(12.0, 1.6 + 0.42 * layers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(scores, aspect="auto", cmap="viridis", interpolation="nearest")
    figure.colorbar(image, ax=axes, label=f"{score} score")
    axes.set(xlabel="expert", ylabel="layer", yticks=range(layers), yticklabels=[str(n) for n in profile.layers])
    if selection is not None:
        rows = {layer: row for row, layer in enumerate(profile.layers)}
        marks = [(e, rows[layer]) for layer, ids in selection.experts.items() if layer in rows for e in ids]
        if marks:
            x, y = zip(*marks, strict=True)
            axes.scatter(x, y, marker="s", s=22, facecolors="none", edgecolors="red", label="trained")
            axes.legend(loc="upper right", fontsize="small")
    return figure


def _log_picture(trainer: Trainer, tag: str, profile: AffinityProfile, selection: ExpertSelection | None) -> None:
    for logger in trainer.loggers:
        if trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(tag, affinity_figure(profile, selection), trainer.global_step)
