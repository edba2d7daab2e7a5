"""`ExpertFineTuner`: one MoE language model, one strategy, one loss.

It knows how a batch becomes a loss, a loss a gradient, and what a checkpoint holds. What is trained is the strategy's
business, which experts a task uses is the profiler callback's, and what a batch means is the DataModule's.

`B` batch, `S` sequence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.affinity.selection import ExpertSelection
from esft_lightning.data.chat import TurnEnd, turn_end
from esft_lightning.identity import ModelIdentity, content_digest, key_of
from esft_lightning.moe.kept_memory import give_back_freed
from esft_lightning.moe.loss import LabelledTokenLoss, TokenLoss
from esft_lightning.moe.rounded_weight import ExpertQuantisation
from esft_lightning.moe.weight_updates import WeightUpdates, check_updates, make_adamw
from esft_lightning.scoring.sandbox import missing_packages
from esft_lightning.strategies import FineTuningStrategy, trained_parameters
from esft_lightning.strategies.learning_rate import check_optimizer, scale_of
from esft_lightning.training.checkpoint_io import DirectCheckpointIO, peek
from esft_lightning.training.engines import SplitLayersStrategy, keeps_model_whole
from esft_lightning.training.gradient_scaling import scale_gradients
from esft_lightning.training.hyper_parameters import constructor_settings, plain, rebuilt_strategy
from esft_lightning.training.idle_settings import check_model_settings
from esft_lightning.training.movement import Movement
from esft_lightning.training.resuming import (
    CheckpointError,
    OpenWindow,
    check_settings,
    construction,
    count_anew,
    count_step_once,
    data_identity,
    go_on_in_data,
    keep_new_settings,
    settings_record,
    settle_epoch,
    settle_schedules,
    validate_at_window_ends,
)
from esft_lightning.training.token_mean import TokenMean
from esft_lightning.training.training_speed import TrainingSpeed

_CHECKPOINT_KEY = "esft_lightning"


class ExpertFineTuner(LightningModule):
    """Fine-tunes what a strategy selects of a Mixture-of-Experts language model.

    The loss of an optimizer step is the sum of the token losses divided by the number of labelled tokens of the whole
    global batch: over all ranks and all accumulated micro-batches, so that neither changes what is learned.

    Example:
        >>> module = ExpertFineTuner(ESFTGate(), base="tiny", learning_rate_scale=100)
        >>> Trainer(max_steps=60).fit(module, datamodule=IntentDataModule())

    Attributes:
        strategy: What is trained.
        model: The Transformers model, None until `load_base`.
        selection: The experts that are trained, where the strategy selects any; None before that is known.
        profile: The affinity profile that they were selected from, where this process has one.
        installed: Whether the strategy has been applied to the model.
    """

    def __init__(
        self,
        strategy: FineTuningStrategy,
        base: str = "tiny",
        learning_rate_scale: float | dict[str, float] = 1.0,
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        weight_updates: WeightUpdates = "fp32_masters",
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.1,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        gradient_checkpointing: bool = False,
        adapter: str | None = None,
        force_adapter: bool = False,
        attn_implementation: str | None = None,
        random_weights: bool = False,
        revision: str | None = None,
        trust_remote_code: bool = False,
        max_new_tokens: int = 96,
        stop: list[str] | None = None,
        answers: str | None = None,
        general_ability: bool | None = None,
        general_limit: int | None = None,
        allow_code_execution: bool = False,
        expert_group_size: int | None = None,
        expert_group_source: str | None = None,
        expert_group_tokens: int = 2**17,
        expert_group_cache: str | None = None,
        quantize_experts: ExpertQuantisation | None = None,
        device_map: str | dict[str, str | int] | None = None,
        offload_folder: str | None = None,
        sync_free_experts: bool = False,
        force_data: bool = False,
    ) -> None:
        """Configure; the model itself is loaded when training or evaluation starts.

        Args:
            strategy: What is trained: FullFineTuning, LoRA, FrozenExperts, ESFTGate, ESFTToken, RandomExperts, or the
                class_path of your own.
            base: The base model: `tiny` (embedded), a local folder, or a hub id.
            learning_rate_scale: Multiplies the strategy's learning rate; set once per model. One number keeps the
                paper's ratios between strategies; a mapping gives some strategies, by class name, their own (`default`
                is for the others, and must be there for them), as found by a search on that model.
            dtype: Storage dtype of the base's weights; `auto` is the checkpoint's own. What trains is kept in fp32
                either way; keep trainer.precision at 32-true.
            weight_updates: How small updates reach what trains in a bf16 or fp16 base: `fp32_masters` keeps it in fp32,
                16 bytes a trained parameter with gradient and moments; `kahan_summation`, where memory forbids that,
                keeps it in the base's dtype beside what rounding took from it, 10 bytes (needs torch-optimi; weight
                decay smaller than half a bf16 step is still lost, and so are parts of accumulated gradients).
            betas: AdamW's moment decay rates.
            weight_decay: AdamW's weight decay, on everything trained but vectors (norms, biases).
            lr_scheduler: Makes a schedule for the optimizer, stepped at each optimizer step; none: a constant rate.
            gradient_checkpointing: Recompute each layer in backward instead of keeping its activations.
            adapter: An adapter folder to load for validate, test and predict.
            force_adapter: Load it even if it was trained on another base, as long as every shape fits.
            attn_implementation: Transformers' attention implementation; none lets Transformers choose.
            random_weights: Take only the configuration of `base` and draw its weights (for tests).
            revision: Hub revision of the base (branch, tag or commit).
            trust_remote_code: Run model code that comes with the base. Only for sources that you trust.
            max_new_tokens: Longest answer that test and predict generate.
            stop: Strings that end an answer, besides the end of the turn: the end tokens of model and chat format, and
                what opens the next turn in the chat format.
            answers: JSONL file that keeps what test generates as it comes; a test that was stopped goes on from it, one
                with another model or other settings starts anew. `auto` names a file below runs/answers by task, model
                and settings, and is what the verb test takes. None keeps nothing.
            general_ability: Whether test also measures general ability, by probes that know the embedded model's world;
                none does so for the embedded model alone.
            general_limit: Rows of each general probe; none takes all.
            allow_code_execution: Let the code task run what the model wrote, in a separate, limited process.
            expert_group_size: Bind experts that are chosen together in groups of this many, before anything else, and
                route to whole groups with one expert in eight active (the paper's Fig. 7); 1 changes only how many are
                active. None leaves the routing as it is.
            expert_group_source: General text that shows which experts are chosen together: a JSONL file or a hub id;
                none takes the embedded general rows.
            expert_group_tokens: Tokens of it to read.
            expert_group_cache: Folder that keeps groupings; none takes `profiles` beside the runs.
            quantize_experts: Keep the routed experts that do not train in fewer bits: `int8` takes half of their memory
                in bf16, `nf4` (4-bit, by bitsandbytes) 28 %; selected ones are read from the checkpoint in full.
            device_map: Spread the layers over devices, host memory (`cpu`) and `disk`: `auto`, or a mapping from module
                names to devices; with trainer.strategy=split_layers.
            offload_folder: Where weights on disk are kept; none takes `offload` below the working directory.
            sync_free_experts: Compute the two banks without reading a number back from the device, for CUDA graphs and
                `torch.compile`; activations of all routed rows are then kept, not only of the selected experts'.
            force_data: Resume on other data than the checkpoint's: from their first row, if training rows differ.

        Raises:
            SettingError: For a number that cannot be, or a setting that another one makes idle.
        """
        settings = constructor_settings(locals())
        super().__init__()
        self.save_hyperparameters(settings)
        check_model_settings(settings, signature(ExpertFineTuner.__init__))
        check_optimizer(betas, weight_decay)
        scale_of(strategy.name, learning_rate_scale)
        self.strategy = strategy
        self.base = base
        self.learning_rate_scale = learning_rate_scale
        self.dtype_name: Literal["auto", "float32", "bfloat16"] = dtype
        self.weight_updates: WeightUpdates = weight_updates
        self.betas = betas
        self.weight_decay = weight_decay
        self.lr_scheduler = lr_scheduler
        self.gradient_checkpointing = gradient_checkpointing
        self.adapter = adapter
        self.force_adapter = force_adapter
        self.attn_implementation = attn_implementation
        self.random_weights = random_weights
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self.max_new_tokens = max_new_tokens
        self.stop = tuple(stop or ())
        self.answers = answers
        self.general_ability = general_ability
        self.general_limit = general_limit
        self.allow_code_execution = allow_code_execution
        self.expert_group_size = expert_group_size
        self.expert_group_source = expert_group_source
        self.expert_group_tokens = expert_group_tokens
        self.expert_group_cache = expert_group_cache
        self.device_map = device_map
        self.offload_folder = offload_folder
        self.quantize_experts: ExpertQuantisation | None = quantize_experts
        self.sync_free_experts = sync_free_experts
        self.force_data = force_data

        self.model: Any = None
        self.selection: ExpertSelection | None = getattr(strategy, "expert_config", None)
        self.profile: AffinityProfile | None = None
        self._profile_record: Mapping[str, Any] | None = None  # of the checkpoint that training goes on from
        self.data_fingerprint: str | None = None  # of the rows that the checkpoint at hand was trained on
        self.installed = False
        self._base_identity: ModelIdentity | None = None
        # Checkpoints hold no frozen weights, which Lightning's strict check would miss; on_load_checkpoint checks.
        self.strict_loading = False
        self._placeholder: nn.Parameter | None = None
        self._token_loss: LabelledTokenLoss | None = None
        self._tokenizer: Any = None
        self._window: list[Tensor] = []  # per micro-batch of this optimizer step: [loss sum, labelled, real tokens]
        self._open = OpenWindow()
        self._step_counted = False  # whether the checkpoint was saved when its last step had been counted
        self._speed = TrainingSpeed()
        self._stepped = False
        self._resumed: Mapping[str, Any] | None = None  # what the checkpoint that training goes on from says of its run
        self._construction: dict[str, Any] | None = None  # settings of optimizer and schedule, see `resuming.optimizer`
        self._data: dict[str, Any] | None = None  # what is trained on, see `resuming.data_identity`

        self.val_loss = TokenMean()
        self.val_token_accuracy = TokenMean()
        self.completions: list[dict[str, Any]] = []  # of the last test on this rank, in the authors' form
        self.answer_log: Any = None  # esft_lightning.evaluation.answer_log.AnswerLog of the last test
        self._generated = (0, 0.0)  # tokens and seconds of the test at hand
        self.general: Any = None  # esft_lightning.evaluation.GeneralAbility of the last test
        self.task_score: Any = None  # esft_lightning.tasks.TaskScore of the DataModule's task, made by setup

    # ---- the model -------------------------------------------------------------------------------------------------

    @property
    def needs_selection(self) -> bool:
        """Whether a profile has to be made (or found) before the strategy can be applied."""
        return not self.installed and self.selection is None and self.strategy.needs_profile

    @property
    def profile_record(self) -> Mapping[str, Any] | None:
        """What is known of the profile that the experts were selected from, in this process or before a resume."""
        from esft_lightning.adapters.provenance import profile_record

        return self._profile_record if self.profile is None else profile_record(self.profile)

    @property
    def learning_rate(self) -> float:
        """The rate that the optimizer uses: the strategy's times the model's scale."""
        return self.strategy.learning_rate * scale_of(self.strategy.name, self.learning_rate_scale)

    @property
    def base_fingerprint(self) -> str:
        """Names the base's exact weights, taken before anything is trained; empty before the base is loaded."""
        return "" if self._base_identity is None else self._base_identity.weights

    @property
    def base_dtype(self) -> str:
        """Storage dtype of the base's weights, as loaded; empty before."""
        return "" if self._base_identity is None else self._base_identity.dtype

    def identity(self) -> ModelIdentity:
        """Which model is at work now: the base as it was loaded, and what has been trained or put into it since.

        Raises:
            OSError: If the adapter's folder cannot be read any more.
        """
        from esft_lightning.data.tokenization import tokenizer_fingerprint
        from esft_lightning.moe import trained_digest

        self.load_base()
        assert self._base_identity is not None
        trained = ""
        if self.installed and self.adapter is None:
            facts = (repr(sorted(vars(self.strategy).items(), key=str)), repr(self.selection))
            trained = trained_digest(self.state_dict(), (type(self.strategy).__name__, *facts))
        return replace(
            self._base_identity,
            precision="" if self._trainer is None else str(self.trainer.precision),
            adapter="" if self.adapter is None else content_digest(self.adapter),
            trained=trained,
            tokenizer=key_of([tokenizer_fingerprint(self.tokenizer), self.tokenizer.chat_template]),
        )

    @property
    def tokenizer(self) -> Any:
        """The base's tokenizer, loaded on first use."""
        if self._tokenizer is None:
            from esft_lightning.moe import load_tokenizer

            self._tokenizer = load_tokenizer(self.base, self.revision, self.trust_remote_code)
        return self._tokenizer

    def setup(self, stage: str) -> None:
        """Write checkpoints straight to disk; make the task's scorer."""
        if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # unless a plugin was asked for
            self.trainer.strategy.checkpoint_io = DirectCheckpointIO()
        task = getattr(self.trainer.datamodule, "task", "")  # type: ignore[attr-defined]
        if stage in ("test", "predict") and task:
            self.task_score = self.new_task_score(task)

    def new_task_score(self, task: str) -> Any:
        """A `TaskScore` of a task, on this module's device; it runs what the model wrote where that is allowed."""
        from esft_lightning.tasks import TaskScore

        options = {"allow_code_execution": True} if task == "code" and self.allow_code_execution else None
        return TaskScore(task, options).to(self.device)

    def configure_callbacks(self) -> list[Callback]:
        """Put the profiler first, so that the others meet the model as it is trained; add one where it is missing.

        Raises:
            MisconfigurationException: For a setting that would silently train something else.
        """
        from esft_lightning.training.callbacks.affinity_profiler import ExpertAffinityProfiler
        from esft_lightning.training.refused_callbacks import refuse_callbacks
        from esft_lightning.training.run_folder import claim_run_folder

        self._refuse_settings()
        refuse_callbacks(self.trainer)
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        given = [callback for callback in callbacks if isinstance(callback, ExpertAffinityProfiler)]
        if not given and (self.needs_selection or self.selection is not None):
            given = [ExpertAffinityProfiler()]
        callbacks[:] = given + [callback for callback in callbacks if callback not in given]
        claim_run_folder(self.trainer)
        validate_at_window_ends(self.trainer)
        return []

    def _refuse_settings(self) -> None:
        """Refuse what would silently train something else, before data are read."""
        precision = str(self.trainer.precision)
        if precision not in ("32-true", "bf16-mixed", "16-mixed"):
            raise MisconfigurationException(
                f"trainer.precision={precision} would cast the fp32 master weights of what is trained; for a bf16 base "
                "set model.dtype=bfloat16 and leave trainer.precision at 32-true"
            )
        if self.trainer.state.fn == "fit" and self.adapter is not None:
            raise MisconfigurationException(
                f"model.adapter={self.adapter} is for validate, test and predict; "
                "to train on from a checkpoint, give --ckpt_path"
            )

    def load_base(self) -> Any:
        """Load the base model, once; nothing in it is trainable yet.

        Returns:
            The Transformers model.
        """
        if self.model is None:
            self._check_placement()
            from esft_lightning.moe import load_model, recompute_layers, widen_linears
            from esft_lightning.moe.identify import identify

            self.model = load_model(
                self.base,
                dtype=self.dtype_name,
                revision=self.revision,
                trust_remote_code=self.trust_remote_code,
                random_weights=self.random_weights,
                attn_implementation=self.attn_implementation,
                quantize_experts=self.quantize_experts,
                device_map=self.device_map,
                offload_folder=self.offload_folder,
            )
            self.model.requires_grad_(False)
            widen_linears(self.model)
            if self.expert_group_size is not None:
                self._group_experts(self.expert_group_size)
            self._base_identity = identify(self.model)
            if self.gradient_checkpointing:
                recompute_layers(self.model)
        return self.model

    def _check_placement(self) -> None:
        """Refuse to spread a model that the engine would move as a whole."""
        engine = None if self._trainer is None else self._trainer.strategy
        if self.device_map is not None and engine is not None and not isinstance(engine, SplitLayersStrategy):
            raise MisconfigurationException(
                f"model.device_map={self.device_map!r} spreads the model, which {type(engine).__name__} would move to "
                "one device; set trainer.strategy=split_layers"
            )

    def _group_experts(self, size: int) -> None:
        """Route to groups of experts from here on; the fingerprint of the base names them."""
        from esft_lightning.moe import check_embeddings, install_grouped_routing
        from esft_lightning.profiling.expert_grouping import find_grouping
        from esft_lightning.training.run_folder import runs_root

        check_embeddings(self.model, self.tokenizer)

        folder = self.expert_group_cache
        trainer = self._trainer
        if trainer is not None:
            folder = folder or str(runs_root(trainer) / "profiles")
            if keeps_model_whole(trainer.strategy):
                self.model.to(trainer.strategy.root_device)  # where the model will be; large ones read slowly elsewhere
        grouping = find_grouping(
            self.model,
            self.tokenizer,
            size,
            source=self.expert_group_source,
            token_budget=self.expert_group_tokens,
            folder=folder,
        )
        install_grouped_routing(self.model, grouping.groups)

    def configure_model(self) -> None:
        """Load the base; apply the strategy if training starts and its selection is known."""
        self.load_base()
        self.check_tokenizer()
        fitting = self._trainer is None or self.trainer.state.fn == "fit"
        if not fitting:
            self._load_adapter()
        elif not self.installed:
            if self.needs_selection:
                # Wrappers and optimizers refuse a model with nothing to train; this stands in until then.
                self._placeholder = nn.Parameter(torch.zeros(1))
            else:
                self.install(self.selection)

    def check_tokenizer(self) -> None:
        """Refuse data whose tokenizer has tokens that the base has no embedding for.

        Raises:
            TokenizerError: It has.
        """
        from esft_lightning.moe import check_embeddings

        data = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        if (tokenizer := getattr(data, "tokenizer", None)) is not None:
            check_embeddings(self.load_base(), tokenizer)

    def install(self, selection: ExpertSelection | None) -> None:
        """Apply the strategy to the base model: from here on it is known what is trained.

        Args:
            selection: The experts to train; None for a strategy that selects none.

        Raises:
            RuntimeError: If a strategy is installed already.
        """
        if self.installed:
            raise RuntimeError(f"{type(self.strategy).__name__} is already applied to this model")
        self._placeholder = None
        self.selection = selection
        self.model = self.strategy.apply(self.load_base(), selection, masters=self.weight_updates == "fp32_masters")
        check_updates(self.weight_updates, trained_parameters(self.model).values())
        self._choose_forward()
        self.model.train()
        self._token_loss = None
        self.installed = True

    def _choose_forward(self) -> None:
        """Compute trained banks without a synchronisation, where that was asked for."""
        from esft_lightning.moe import SYNC_FREE, banks

        if self.sync_free_experts and next(banks(self.model), None) is not None:
            self.model.set_experts_implementation(SYNC_FREE)

    def _load_adapter(self) -> None:
        if self.adapter is not None and not self.installed:
            from esft_lightning.adapters import load_adapter

            self.model = load_adapter(self.model, Path(self.adapter), force=self.force_adapter)
            self._choose_forward()
            self.installed = True
            self._token_loss = None

    # ---- loss and gradient -----------------------------------------------------------------------------------------

    def model_step(self, batch: Mapping[str, Tensor]) -> TokenLoss:
        """The loss of a batch, the same in training and validation.

        Args:
            batch: As the DataModules make it; see `LabelledTokenLoss`.

        Returns:
            Sum of token losses, labelled tokens, correct predictions.
        """
        return self.token_loss(batch)

    @property
    def token_loss(self) -> LabelledTokenLoss:
        """The loss of the model at hand; made on first use, by a forward pass of its own."""
        if self._token_loss is None:
            self._token_loss = LabelledTokenLoss(self.model)
        return self._token_loss

    def on_fit_start(self) -> None:
        """Train mode, in which alone layers are recomputed; a warning where packed samples cannot be kept apart."""
        self.model.train()
        self._data = data_identity(self.trainer)
        self._construction = construction(self.trainer)
        if self._resumed and self._resumed.get("construction"):
            keep_new_settings(self.trainer, self._resumed["construction"])
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if getattr(data, "cross_sample_attention", True):
            return
        from esft_lightning.moe import reads_packed_samples_apart

        if not reads_packed_samples_apart(self.model):
            rank_zero_warn(
                f"data.cross_sample_attention is false, but {type(self.model).__name__} does not keep the samples of a "
                "packed row apart (its layers carry state, or attend, from one into the next); they train as with "
                "cross_sample_attention: true, the paper's way"
            )

    def on_train_start(self) -> None:
        """Free what profiling left behind; note where weights start, and how optimizer and schedule were made."""
        from esft_lightning.moe.described_products import described_products

        give_back_freed()
        rank_zero_info(f"Routed experts are multiplied by {described_products(self.model)}")
        self._movement = Movement(self.model, self.trainer.global_step)
        if self._step_counted:
            count_step_once(self.trainer)
        if self._resumed is None:
            self._construction = construction(self.trainer)
        elif self._construction is not None and self._resumed.get("construction"):
            settle_schedules(self.trainer, self._resumed["construction"], self._construction)

    def on_train_epoch_start(self) -> None:
        """Epochs behind a resumed one may have more batches than what was left of it."""
        if self._resumed is not None:
            count_anew(self.trainer)

    def on_train_epoch_end(self) -> None:
        """See what has moved, before a callback puts other weights in place."""
        self._movement.look(self.trainer.optimizers)

    def on_train_end(self) -> None:
        """Refuse a run that did not train what it should; adapter and checkpoints are written by now.

        Raises:
            NotMovedError: Naming what stayed where it was.
        """
        self._movement.check(
            self.trainer.global_step, rate=self.learning_rate, opens_whole_parts=self.strategy.opens_whole_parts
        )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Note where an accumulation window begins; start the clock."""
        self._open.note(self.trainer)
        self._speed.start()

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """The SUM of the micro-batch's token losses; `on_before_optimizer_step` divides the gradients."""
        loss = self.model_step(batch)
        mask = batch.get("token_mask")
        real = mask.sum() if mask is not None else torch.full_like(loss.tokens, batch["input_ids"].numel())
        self._window.append(torch.stack([loss.total.detach(), loss.tokens, real.to(loss.total.device)]).double())
        return loss.total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Divide the summed gradients by the labelled tokens of the whole global batch; before clipping.

        The count is known only now, when every rank has seen every micro-batch of the step. Undone here as well: DDP
        averages over ranks, and Lightning divides each micro-batch by `accumulate_grad_batches`. All of it stays on
        the device: numbers are read where the Trainer logs.
        """
        window = self.trainer.strategy.reduce(torch.stack(self._window).sum(0), reduce_op="sum")
        total, labelled, tokens = window.unbind()
        labelled = labelled.clamp(min=1.0)
        self._window.clear()
        self._stepped = True
        self._speed.add(tokens)
        scale_gradients(optimizer, self.trainer.world_size * self.trainer.accumulate_grad_batches / labelled)
        loss, waits = total / labelled, self.device.type != "cpu"
        # A bar reads what it shows at every batch.
        self.log("train/loss", loss, prog_bar=not waits)
        if self._is_logged(self.trainer.global_step + 1):
            self.log("train/learning_rate", optimizer.param_groups[0]["lr"])
            if waits:
                self.log("loss", loss.cpu(), prog_bar=True, logger=False)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the speed since it was last logged, validation not counted; let gradients go."""
        if self._stepped:
            if self._is_logged(self.trainer.global_step):
                self.log("train/tokens_per_second", self._speed.read(), prog_bar=True)
            self._stepped = False
            # They have been used. Validation and saving, which come next, have their memory.
            for optimizer in self.trainer.optimizers:
                optimizer.zero_grad(set_to_none=True)
        self._speed.stop()

    def _is_logged(self, step: int) -> bool:
        """Whether the Trainer hands that step's values to its loggers; each costs it half a millisecond to take."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and step % every == 0

    def configure_optimizers(self) -> Any:
        """AdamW over what is trained, at a constant rate unless a schedule was given."""
        if self._placeholder is not None:
            return torch.optim.SGD([self._placeholder], lr=0.0)
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        # Under mixed precision the fused step unscales by itself, which clipping cannot do before it.
        fused = "mixed" not in str(self.trainer.precision) and self.device.type in ("cpu", "cuda")
        groups = [group for group in groups if group["params"]]
        optimizer = make_adamw(
            groups, self.weight_updates, learning_rate=self.learning_rate, betas=self.betas, fused=fused
        )
        if self.lr_scheduler is None:
            return optimizer
        schedule = self.lr_scheduler(optimizer)
        if isinstance(schedule, ReduceLROnPlateau):
            raise MisconfigurationException(
                "model.lr_scheduler: ReduceLROnPlateau follows the validation loss, and a schedule is stepped at each "
                "optimizer step here; take another, such as CosineAnnealingLR"
            )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # ---- evaluation ------------------------------------------------------------------------------------------------

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """`val/loss` and `val/token_accuracy` over all labelled tokens."""
        loss = self.model_step(batch)
        self.val_loss.update(loss.total, loss.tokens)
        self.val_token_accuracy.update(loss.correct, loss.tokens)
        self.log("val/loss", self.val_loss, on_epoch=True, prog_bar=True)
        self.log("val/token_accuracy", self.val_token_accuracy, on_epoch=True)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Generate answers and score them: `test/<task>/score`."""
        samples = batch["samples"]
        if not samples:
            return  # more processes than rows
        known = self.answer_log.known if self.answer_log is not None else {}
        prompts = dict(zip((sample["prompt"] for sample in samples), _prompts(batch), strict=True))
        asked = [sample for sample in samples if sample["prompt"] not in known]
        answered = self.generate([prompts[sample["prompt"]] for sample in asked])
        fresh = dict(zip((sample["prompt"] for sample in asked), answered, strict=True))
        if self.answer_log is not None:
            self.answer_log.add(asked, list(fresh.values()))
        given = {**known, **fresh}
        answers = [given[sample["prompt"]] for sample in samples]
        tokens, seconds = self._generated
        if seconds:
            self.log("test/tokens_per_second", tokens / seconds, prog_bar=True, on_step=True, on_epoch=False)
        self.task_score.update(answers, batch["samples"])
        self.completions += self.task_score.completions(answers, batch["samples"])

    def on_test_epoch_start(self) -> None:
        """Forget the completions and general scores of an earlier test; find the answers of one that was stopped."""
        self.completions.clear()
        self.general = None
        self._generated = (0, 0.0)
        self.answer_log = self._open_answers() if self.answers else None
        if self.answer_log is not None and self.answer_log.known and self.trainer.is_global_zero:
            print(f"{len(self.answer_log.known)} answers are there already: {self.answer_log.path}")

    def answers_key(self) -> str:
        """Names what decides an answer, besides its prompt: the model at work and how it generates."""
        chat_format = getattr(getattr(self._trainer, "datamodule", None), "chat_format", "")
        return self.identity().key(
            decoding="greedy", max_new_tokens=self.max_new_tokens, stop=self.stop, turn_end=self.turn_end,
            chat_format=chat_format,
        )  # fmt: skip

    def _open_answers(self) -> Any:
        """The file of answers of exactly this model, with these settings."""
        from esft_lightning.evaluation.answer_log import AnswerLog

        identity = self.answers_key()
        place = Path("runs/answers") / f"{self.task_score.task}-{identity}.jsonl"
        path = place if self.answers == "auto" else Path(str(self.answers))
        rank = f"-rank{self.global_rank}" if self.trainer.world_size > 1 else ""
        return AnswerLog(path.with_name(f"{path.stem}{rank}{path.suffix}"), identity)

    def on_test_epoch_end(self) -> None:
        """Log the task's score over all ranks, and `test/general/<probe>`."""
        self.log(f"test/{self.task_score.task}/score", self.task_score.compute())
        if (missing := self.task_score.missing_walls) is not None:
            self.log(f"test/{self.task_score.task}/missing_walls", float(len(missing)))  # the log names them
        self.task_score.reset()
        if missing := missing_packages([entry.get("reason", "") for entry in self.completions]):
            rank_zero_warn(missing)
        if self.answer_log is not None:
            self.answer_log.finish(self.completions)
            print(f"{len(self.completions)} answers with their scores: {self.answer_log.path}")
        from esft_lightning.evaluation.general import general_ability, suits_probes

        if suits_probes(self.base) if self.general_ability is None else self.general_ability:
            shown = self.trainer.progress_bar_callback is not None and self.trainer.is_global_zero
            self.general = general_ability(self.model, self.tokenizer, limit=self.general_limit, progress=shown)
            self.log_dict({f"test/general/{probe}": value for probe, value in self.general.scores.items()})
            self.log("test/general/loss", self.general.loss)

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Each evaluation sample with the model's answer and its score, in the form of the authors' completions."""
        if not batch["samples"]:
            return []  # more processes than rows
        answers = self.generate(_prompts(batch))
        self.task_score.update(answers, batch["samples"])
        return self.task_score.completions(answers, batch["samples"])

    @property
    def turn_end(self) -> TurnEnd:
        """Where an answer ends in the DataModule's chat format; in the `esft` format where there is no DataModule."""
        end = getattr(getattr(self._trainer, "datamodule", None), "turn_end", None)
        return turn_end(self.tokenizer, "esft") if end is None else end

    def generate(self, prompts: Sequence[str | Sequence[int]]) -> list[str]:
        """Greedy answers, each up to the end of the model's turn.

        Args:
            prompts: Texts in the chat format, without special tokens, or token ids.

        Returns:
            The continuations, in order.
        """
        from esft_lightning.evaluation import generate

        started, counts = time.perf_counter(), [self._generated[0]]
        answers = generate(
            self.model,
            self.tokenizer,
            prompts,
            max_new_tokens=self.max_new_tokens,
            batch_size=max(1, len(prompts)),
            stop=self.stop,
            turn_end=self.turn_end,
            on_tokens=counts.append,
        )
        self._generated = (sum(counts), self._generated[1] + (time.perf_counter() - started if prompts else 0.0))
        return answers

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Only what is trained, by parameter name."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        trained.discard("_placeholder")
        prefix = kwargs.get("prefix", "")
        state = super().state_dict(*args, **kwargs)
        return {key: value for key, value in state.items() if key.removeprefix(prefix) in trained}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to know what the trained weights are, as plain data (loads with `weights_only`)."""
        training = self.trainer.state.fn == "fit" and "loops" in checkpoint
        taken_back = training and self._open.take_back(checkpoint, self.trainer)
        selection, profile = self.selection, self.profile_record
        checkpoint[_CHECKPOINT_KEY] = {
            **settings_record(self),
            "construction": self._construction,
            "data": self._data,
            "accumulate_grad_batches": self.trainer.accumulate_grad_batches,
            "step_counted": taken_back,
            "profile": None if profile is None else plain(profile),
            "data_fingerprint": getattr(getattr(self.trainer, "datamodule", None), "data_fingerprint", None),
            "selection": None
            if selection is None
            else {
                "experts": {int(layer): [int(e) for e in ids] for layer, ids in selection.experts.items()},
                "shared_experts": bool(selection.shared_experts),
                "non_expert_modules": bool(selection.non_expert_modules),
            },
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Install the checkpoint's selection, then check that it holds exactly what is trained here.

        Where training goes on, the place in the data is brought into this run's batches.

        Raises:
            CheckpointError: If the checkpoint belongs to another base, strategy or selection, to other settings or
                data, or if trained parameters are missing or unexpected.
        """
        saved = checkpoint.get(_CHECKPOINT_KEY)
        if saved is None:
            raise CheckpointError(
                "this checkpoint was not written by ExpertFineTuner: it does not say what its weights are; "
                "expected one from the checkpoints folder of a run"
            )
        self.load_base()
        training = self._trainer is not None and self.trainer.state.fn == "fit"
        if training and "optimizer_states" not in checkpoint:
            raise CheckpointError(
                "the checkpoint holds weights alone (checkpoint.save_weights_only): fit cannot go on from it"
            )
        check_settings(saved, self, training=training)
        selection = None if saved["selection"] is None else ExpertSelection(**saved["selection"])
        if not self.installed:
            self.install(selection)
        elif selection != self.selection:
            raise CheckpointError(
                "the checkpoint trains other experts than this run has installed; "
                "resume with the same strategy settings, or leave out its expert_config to take the checkpoint's"
            )
        expected, found = set(self.state_dict()), set(checkpoint["state_dict"])
        if expected != found:
            raise CheckpointError(
                f"the checkpoint does not hold what is trained here: missing {_some(expected - found)}; "
                f"unexpected {_some(found - expected)}"
            )
        self._profile_record, self.data_fingerprint = saved.get("profile"), saved.get("data_fingerprint")
        if training:
            go_on_in_data(checkpoint, saved, self.trainer, force=self.force_data)
            self._step_counted = settle_epoch(checkpoint, self.trainer) or saved.get("step_counted", False)
            self._resumed = saved

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what is trained; that the frozen weights are not there is no news, and is not reported."""
        trained = set(self.state_dict())
        keys = super().load_state_dict(state_dict, strict=False, assign=assign)
        keys.missing_keys[:] = [key for key in keys.missing_keys if key in trained]
        if strict and (keys.missing_keys or keys.unexpected_keys):
            raise CheckpointError(
                f"missing {_some(set(keys.missing_keys))}; unexpected {_some(set(keys.unexpected_keys))}"
            )
        return keys

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | Path, map_location: Any = None, hparams_file: Any = None,
        strict: bool | None = None, weights_only: bool | None = None, **settings: Any,
    ) -> ExpertFineTuner:  # fmt: skip
        """The module as it was trained: base, strategy and settings are those in the checkpoint.

        Args:
            checkpoint_path: A checkpoint of a run.
            map_location: Where tensors go, as `torch.load`'s.
            hparams_file: Not needed: the settings are in the checkpoint.
            strict: As Lightning's.
            weights_only: As `torch.load`'s; these checkpoints hold plain data.
            settings: Constructor arguments that replace the checkpoint's, such as another place of the base.

        Returns:
            The module, its base loaded and what was trained in place.

        Raises:
            UserError: If the checkpoint does not say what it was trained with.
        """
        saved = peek(checkpoint_path)
        described = saved.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {}).get("strategy")
        if "strategy" not in settings:
            if described is None:
                raise CheckpointError(f"{checkpoint_path} does not say how it was trained; give strategy=… and base=…")
            settings["strategy"] = rebuilt_strategy(described)
        settings = {"lr_scheduler": None, **settings}  # a function, which checkpoints hold the name of
        return super().load_from_checkpoint(
            checkpoint_path, map_location, hparams_file, strict=strict, weights_only=weights_only, **settings
        )


def _prompts(batch: Mapping[str, Any]) -> list[Any]:
    """What a batch of evaluation samples asks: token ids as the DataModule made them, else the prompts' texts."""
    return list(batch.get("prompt_ids") or [sample["prompt"] for sample in batch["samples"]])


def _some(names: set[str]) -> str:
    """A few of the names, and how many there are."""
    shown = sorted(names)[:3]
    return f"{len(names)}" + (f" ({', '.join(shown)}{', …' if len(names) > 3 else ''})" if names else "")
