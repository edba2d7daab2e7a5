"""The profiling pass: the base model reads the task's own rows, and the strategy selects its experts from what it did.

In `fit` it runs before step 0, so that no weight moves, no optimizer step is counted, and the order of training batches
is the same whether a profile was made, found or not needed. The verb `profile` runs it alone.

`B` batch, `S` sequence, `T` kept tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from tqdm.auto import tqdm

from esft_lightning.affinity.grouping import ExpertGrouping
from esft_lightning.affinity.metric import ExpertAffinity
from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.data.host_side import known_on_host
from esft_lightning.errors import FileError, SettingError, one_line
from esft_lightning.identity import key_of
from esft_lightning.moe import RoutingTap, find_decoder, find_moe_layers, input_device
from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.grouped_routing import grouped_routing
from esft_lightning.moe.known_packing import known_packing
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.router_traits import router_traits
from esft_lightning.profiling.contributions import ContributionTap
from esft_lightning.training.callbacks.fine_tuner import fine_tuner
from esft_lightning.training.engines import SplitLayersStrategy, keeps_model_whole
from esft_lightning.training.module import ExpertFineTuner
from esft_lightning.training.run_folder import run_folder, runs_root

PROFILE_FILE = "affinity.safetensors"
SELECTION_FILE = "expert_cfg.json"
_IGNORED = -100


class ExpertAffinityProfiler(Callback):
    """Profiles the base model on the task before training, and installs the experts that the strategy selects.

    A profile in the cache beside the runs that was made from the same model, data, budget and counting rule is used
    instead of a new pass. On resume the selection comes from the checkpoint, and nothing is profiled.

    Attributes:
        profile: The profile in use, once there is one.
    """

    def __init__(
        self,
        token_budget: int = 2**17,
        counting: Literal["all", "response"] = "all",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        """Set how much is read and where profiles are kept.

        Args:
            token_budget: Stop after the global batch with which this many tokens have been counted, over all ranks.
            counting: Count all real tokens, or only those of the response (labelled tokens). Padding never counts.
            cache: Use a matching profile from the cache, and leave new ones there.
            cache_dir: Folder of the cache; none takes `profiles` beside the runs.

        Raises:
            ValueError: If the budget is not positive.
        """
        if token_budget < 1:
            raise SettingError(f"token_budget must be at least 1, got {token_budget}")
        self.token_budget = token_budget
        self.counting: Literal["all", "response"] = counting
        self.cache = cache
        self.cache_dir = cache_dir
        self.profile: AffinityProfile | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look for a matching profile; where none is and the engine cannot be rewrapped, refuse before any work.

        Raises:
            MisconfigurationException: Under a strategy other than one device or DDP, without a cached profile.
        """
        module = fine_tuner(self, pl_module)
        if stage != "fit" or not module.needs_selection or trainer.ckpt_path is not None:
            return
        found = self._find_cached(trainer, module)
        if found is not None:
            self.profile = found
            # Known before the model is configured, so the strategy is applied there and nothing is rewrapped.
            module.selection = module.strategy.select(found)
        elif not can_profile(trainer.strategy):
            raise MisconfigurationException(
                f"{type(trainer.strategy).__name__} cannot change what is trained once it has wrapped the model, so "
                "`fit` cannot profile under it; run `python -m esft_lightning profile` with the same configuration and "
                f"trainer.strategy=auto first: `fit` then finds the profile in {self._cache_folder(trainer)}"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Profile, select, install, and rebuild what was made for the untrained model; write both files."""
        module = fine_tuner(self, pl_module)
        if module.needs_selection:
            self.profile = self.measure(trainer, module)
            module.install(module.strategy.select(self.profile))
            _rebuild(trainer)
        folder = run_folder(trainer)
        if module.selection is not None and trainer.is_global_zero:
            module.selection.save(folder / SELECTION_FILE)
            if self.profile is not None:
                self.profile.save(folder / PROFILE_FILE)
            rank_zero_info(
                f"{module.strategy.name} trains {module.selection.total} routed experts "
                f"({_counts(module.selection.per_layer())}); selection in {folder / SELECTION_FILE}"
            )

    def measure(self, trainer: Trainer, module: ExpertFineTuner) -> AffinityProfile:
        """Run the profiling pass on the attached DataModule, and leave the profile in the cache.

        Args:
            trainer: With a DataModule that has `profile_dataloader()` and `data_fingerprint`.
            module: Its base loaded and untouched.

        Returns:
            The profile, the same on every rank.
        """
        loader = _data(trainer).profile_dataloader()
        metadata = {**self._identity(trainer, module), **_router_traits(module.model), **_groups(module.model)}
        with trainer.precision_plugin.forward_context():
            profile = measure_affinity(
                module.model,
                loader,
                trainer=trainer,
                token_budget=self.token_budget,
                counting=self.counting,
                metadata=metadata,
                measured=module.strategy.measured_scores,
                progress=trainer.progress_bar_callback is not None,
            )
        if self.cache and trainer.is_global_zero:
            path = self._cache_path(trainer, module)
            profile.save(path)
            rank_zero_info(f"Profiled {profile.tokens:,} tokens of {profile.samples:,} sequences: {path}")
        trainer.strategy.barrier("profile written")
        return profile

    def _find_cached(self, trainer: Trainer, module: ExpertFineTuner) -> AffinityProfile | None:
        if not self.cache:
            return None
        module.load_base()
        path = self._cache_path(trainer, module)
        # Rank 0 decides: on a slow shared disk another might not see the file yet, and wait in another collective.
        if not trainer.strategy.broadcast(path.is_file()):
            return None
        try:
            profile = AffinityProfile.load(path)
        except (FileError, OSError) as error:
            warnings.warn(f"the cached profile is damaged, and is made anew: {one_line(error)}", stacklevel=2)
            profile = None
        if not trainer.strategy.reduce_boolean_decision(profile is not None, all=True):
            return None
        assert profile is not None
        if differences := profile.differences(self._identity(trainer, module)):
            rank_zero_warn(f"{path} is not the profile that its name says ({'; '.join(differences)}); profiling anew")
            return None
        rank_zero_info(f"Using the profile of {profile.tokens:,} tokens found in the cache: {path}")
        return profile

    def _identity(self, trainer: Trainer, module: ExpertFineTuner) -> dict[str, Any]:
        """What a profile must agree in to be used."""
        data = _data(trainer)
        model = module.identity()
        return {
            "model_fingerprint": model.weights,
            "model": model.facts(),
            "data_fingerprint": data.data_fingerprint,
            "reading": getattr(data, "reading", {}),
            "token_budget": self.token_budget,
            "counting": self.counting,
            "measured": sorted(module.strategy.measured_scores),
        }

    def _cache_folder(self, trainer: Trainer) -> Path:
        if self.cache_dir is not None:
            return Path(self.cache_dir)
        return runs_root(trainer) / "profiles"

    def _cache_path(self, trainer: Trainer, module: ExpertFineTuner) -> Path:
        key = key_of(self._identity(trainer, module))
        return self._cache_folder(trainer) / f"{getattr(_data(trainer), 'task', 'task')}-{key}.safetensors"


@torch.no_grad()
def measure_affinity(
    model: nn.Module,
    loader: Any,
    *,
    trainer: Trainer | None = None,
    token_budget: int = 2**17,
    counting: Literal["all", "response"] = "all",
    metadata: dict[str, Any] | None = None,
    measured: Sequence[str] = (),
    progress: bool = False,
) -> AffinityProfile:
    """Let a model read batches, and add up which experts its routers choose.

    Whole global batches are counted until the budget is reached, so that the rows counted do not depend on the number
    of processes.

    Args:
        model: An MoE causal LM, in any mode; left in it.
        loader: Batches as the DataModules make them; of the same length on every rank.
        trainer: Given in a distributed run, to count over ranks.
        token_budget: Tokens to count, over all ranks.
        counting: All real tokens, or response (labelled) tokens only.
        metadata: Kept in the profile.
        measured: Scores of `MEASURED` to measure besides; `fisher` takes a backward pass of the loss.
        progress: Show a progress bar.

    Returns:
        The profile, reduced over ranks.

    Raises:
        ValueError: If the loader holds no token to count.
        SIGTERMException: If the process is asked to end meanwhile.
    """
    layers = find_moe_layers(model)
    decoder, tap = find_decoder(model), RoutingTap(model)
    contributions = ContributionTap(model, measured)
    loss = LabelledTokenLoss(model) if "fisher" in measured else None
    device = input_device(model)
    metric: ExpertAffinity | None = None
    counted = 0
    show = progress and (trainer is None or trainer.is_global_zero)
    bar = tqdm(total=token_budget, desc="Profiling", unit="tok", unit_scale=True, disable=not show)
    with evaluating(model), bar:
        for batch in loader:
            if trainer is not None and trainer.received_sigterm:
                raise SIGTERMException(143)
            # Counted where the batch was made, in the host's memory: the device is not waited for before the end.
            batch: dict[str, Any] = known_on_host(batch, pin=device.type == "cuda")
            mask = batch["token_mask"] if counting == "all" else batch["labels"] != _IGNORED
            sample_ids, tokens = batch["sample_ids"][mask], mask.sum()
            batch = {
                key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
                for key, value in batch.items()
            }
            inputs = {key: batch[key] for key in ("input_ids", "position_ids") if key in batch}
            with tap.record(mask) as routing, contributions.record(mask) as values:
                if loss is None:
                    with known_packing(batch.get("restarts")):
                        decoder(**inputs, use_cache=False)
                else:
                    with torch.enable_grad():
                        loss(batch).total.backward()
            if metric is None:
                top_k = routing[layers[0].layer].top_k_index.shape[1]
                metric = ExpertAffinity(
                    [entry.layer for entry in layers], layers[0].num_experts, top_k, measured=measured
                ).to(device)
            metric.update(routing, sample_ids, values)
            if trainer is not None and trainer.world_size > 1:
                tokens = trainer.strategy.reduce(tokens.to(device), reduce_op="sum")
            counted += int(tokens)
            bar.update(int(tokens))
            if counted >= token_budget:
                break
    if metric is None or counted == 0:
        raise SettingError(f"the profiling data holds no {'real' if counting == 'all' else 'labelled'} token")
    return metric.profile(**(metadata or {}))


def can_profile(strategy: Strategy) -> bool:
    """Whether what is trained may still change once this strategy has set the model up."""
    return keeps_model_whole(strategy) or isinstance(strategy, SplitLayersStrategy)


def _rebuild(trainer: Trainer) -> None:
    """Make the engine's wrapper and the optimizer again, over what is trained now."""
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy):
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()
    strategy.setup_optimizers(trainer)


def _router_traits(model: Any) -> dict[str, Any]:
    """What makes raw scores of one family differ from another's, as a few tokens show it; unknown values left out."""
    found = set(router_traits(model).values())
    functions = sorted({traits.function or "other" for traits in found})
    scales = {traits.scale for traits in found}
    return {
        "gate_function": " and ".join(functions),
        "renormalized": all(traits.renormalized for traits in found),
        **({"scaling_factor": scales.pop()} if len(scales) == 1 and None not in scales else {}),
    }


def _groups(model: Any) -> dict[str, Any]:
    """The groups of experts that the model routes to, if it does, so that whole groups are selected."""
    state = grouped_routing(model)
    if state is None:
        return {}
    size = len(next(iter(state.groups.values()))[0])
    return {"expert_groups": ExpertGrouping(size, state.groups).to_dict()}


def _counts(per_layer: dict[int, int]) -> str:
    return ", ".join(f"layer {layer}: {count}" for layer, count in sorted(per_layer.items()))


def _data(trainer: Trainer) -> Any:
    data = trainer.datamodule  # type: ignore[attr-defined]
    if data is None or not hasattr(data, "profile_dataloader"):
        raise MisconfigurationException(
            "profiling reads the DataModule's profile_dataloader(); give fit a DataModule that has one "
            "(any of esft_lightning.data), or give the strategy an expert_config"
        )
    return data
