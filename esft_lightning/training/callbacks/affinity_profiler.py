"""The profiling pass in a run: the base model reads the task's own rows, and the strategy selects its experts.

In `fit` it runs before step 0, so that no weight moves, no optimizer step is counted, and the order of training batches
is the same whether a profile was made, found or not needed. The verb `profile` runs it alone.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.errors import FileError, SettingError, one_line
from esft_lightning.identity import key_of
from esft_lightning.profiling.measurement import measure_affinity, model_facts
from esft_lightning.training.callbacks.fine_tuner import fine_tuner
from esft_lightning.training.engines import SplitLayersStrategy, keeps_model_whole
from esft_lightning.training.module import ExpertFineTuner
from esft_lightning.training.run_folder import run_folder, runs_root

PROFILE_FILE = "affinity.safetensors"
SELECTION_FILE = "expert_cfg.json"


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
        self._cached: AffinityProfile | None = None
        self._left = False  # whether this fit has written its selection

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look for a matching profile; where none is and the engine cannot be rewrapped, refuse before any work.

        Raises:
            MisconfigurationException: Under a strategy other than one device or DDP, without a cached profile.
        """
        module = fine_tuner(self, pl_module)
        self._cached, self._left = None, False
        if stage != "fit" or not module.needs_selection or trainer.ckpt_path is not None:
            return
        self._cached = self._find_cached(trainer, module)
        if can_profile(trainer.strategy):
            return  # used when training starts, unless a checkpoint, which is read later, decides what trains
        if self._cached is not None:
            self.profile = module.profile = self._cached
            # Known before the model is configured, so the strategy is applied there and nothing is rewrapped.
            module.selection = module.strategy.select(self.profile)
        else:
            raise MisconfigurationException(
                f"{type(trainer.strategy).__name__} cannot change what is trained once it has wrapped the model, so "
                "`fit` cannot profile under it; run `python -m esft_lightning profile` with the same configuration and "
                f"trainer.strategy=auto first: `fit` then finds the profile in {self._cache_folder(trainer)}"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Profile, select, install, and rebuild what was made for the untrained model; write both files."""
        module = fine_tuner(self, pl_module)
        if module.needs_selection:
            self.profile = module.profile = self._cached or self.measure(trainer, module)
            module.install(module.strategy.select(self.profile))
            _rebuild(trainer)
        self._leave_selection(trainer, module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the selection of a run that had nothing left to train."""
        if not self._left:
            self._leave_selection(trainer, fine_tuner(self, pl_module))

    def _leave_selection(self, trainer: Trainer, module: ExpertFineTuner) -> None:
        """Write what was selected, and the profile where there is one, into the run's folder."""
        self._left = True
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
        metadata = {**self._identity(trainer, module), **model_facts(module.model)}
        with trainer.precision_plugin.forward_context():
            profile = measure_affinity(
                module.model,
                loader,
                token_budget=self.token_budget,
                counting=self.counting,
                metadata=metadata,
                measured=module.strategy.measured_scores,
                progress=trainer.progress_bar_callback is not None and trainer.is_global_zero,
                **over_ranks(trainer),
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


def over_ranks(trainer: Trainer) -> dict[str, Any]:
    """How `measure_affinity` counts under a Trainer: over its ranks, and until the process is asked to end.

    Raises:
        SIGTERMException: In the pass, once the process was asked to end.
    """

    def check() -> None:
        if trainer.received_sigterm:
            raise SIGTERMException(143)

    summed = partial(trainer.strategy.reduce, reduce_op="sum") if trainer.world_size > 1 else None
    return {"sum_over_ranks": summed, "before_batch": check}


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
