"""Where a resumed run goes on in its data, in packed rows, so that batch size and processes may change.

Lightning counts batches. A checkpoint's count is brought into the batches of the run that loads it, so that each row of
the epoch at hand that was not served is served once, and the optimizer's windows are whole again from the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from esft_lightning.data.loader import PackedLoader
from esft_lightning.training.hyper_parameters import plain
from esft_lightning.training.resuming.settings import CheckpointError, differences

# Attributes that do not decide which rows there are, or in which order.
_NO_ROWS = {
    "report", "trainer", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices",
    "batch_size", "val_batch_size", "test_batch_size", "test_rows", "test_column_mapping", "num_workers", "cache_dir",
    "profile_seed", "profile_sequences", "max_prompt_tokens", "few_shot", "padding_free", "trust_remote_code",
}  # fmt: skip
_COMPARING = ("AdapterCheckpoint", "LastAndBestCheckpoint", "ModelCheckpoint", "EarlyStopping")
_SHOWN = 4


def data_identity(trainer: Trainer) -> dict[str, Any] | None:
    """What a run trains on and is validated by, and in which order, as plain data.

    Args:
        trainer: With its data set up.

    Returns:
        Fingerprints of the packed rows, their number, what decides order and reading, and the settings that name them;
        None where the data do not come from a DataModule of packed rows.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    if data is None or not isinstance(loader := data.train_dataloader(), PackedLoader):
        return None
    validation = data.val_dataloader()
    return {
        "training": loader.rows.fingerprint(),
        "validation": validation.rows.fingerprint() if isinstance(validation, PackedLoader) else None,
        "rows": len(loader.index),
        "seed": loader.seed,
        "cross_sample_attention": loader.cross_sample_attention,
        "settings": _named_settings(data),
    }


def go_on_in_data(
    checkpoint: dict[str, Any], saved: Mapping[str, Any], trainer: Trainer, *, force: bool = False
) -> None:
    """Refuse a checkpoint of other data, and count its batches as this run makes them.

    Args:
        checkpoint: Lightning's; its place in the epoch is rewritten.
        saved: What the checkpoint says of its data: `data` (`data_identity`), `accumulate_grad_batches`.
        trainer: The run that loads it.
        force: Go on with other data at the checkpoint's epoch and step: from their first row where training rows or
            their order are others.

    Raises:
        CheckpointError: If the data are others and `force` is off, naming what differs.
    """
    then, now = saved.get("data"), data_identity(trainer)
    if then is None or now is None:
        if now is not None:
            rank_zero_info("the checkpoint does not say what it was trained on; data and batch size must be the same")
        return
    others = differences(then, now, "", but=("settings", "rows"))
    from_the_start = any(then[name] != now[name] for name in ("training", "seed"))  # what decides the order of rows
    if others:
        reasons = _reasons(then, now)
        if not force:
            raise CheckpointError(
                f"the checkpoint was trained on other data: {reasons}; resume with the checkpoint's data, or give "
                "--force_data true (force_data=True) to go on with these, from their first row"
            )
        place = "their first row comes next" if from_the_start else "training goes on behind the rows that were served"
        rank_zero_info(f"force_data: other data than the checkpoint's: {reasons}; {place}")
        if then["validation"] != now["validation"]:
            _forget_best(checkpoint)
    _rebase(
        checkpoint,
        trainer.datamodule.train_dataloader(),  # type: ignore[attr-defined]
        trainer.accumulate_grad_batches,
        changed=bool(others) or saved.get("accumulate_grad_batches") != trainer.accumulate_grad_batches,
        from_the_start=from_the_start,
    )


def count_anew(trainer: Trainer) -> None:
    """Tell Lightning how many batches an epoch has, which it asks once: a resumed epoch may have had fewer.

    Args:
        trainer: At the start of an epoch that is served from its first row.
    """
    loop = trainer.fit_loop
    combined = loop._combined_loader
    if combined is None or not isinstance(combined.flattened[0], PackedLoader) or len(combined) == loop.max_batches:
        return
    loop.max_batches = len(combined)
    if isinstance(trainer.val_check_interval, float):  # type: ignore[attr-defined]
        trainer.val_check_batch = max(1, int(loop.max_batches * trainer.val_check_interval))  # type: ignore[attr-defined]


def _rebase(
    checkpoint: dict[str, Any], loader: PackedLoader, accumulate: int, *, changed: bool, from_the_start: bool
) -> None:
    """Rewrite the loader's place and Lightning's count of batches, where they are not this run's."""
    loop = checkpoint["loops"]["fit_loop"]
    states = loop["state_dict"].get("combined_loader") or [{}]
    place, progress = states[0], loop["epoch_loop.batch_progress"]
    if "served" not in place or not (changed or place["batch_size"] != loader.batch_size):
        return
    rows = len(loader.index)
    if progress["is_last_batch"]:
        served = rows  # the epoch is over
    else:
        served = 0 if from_the_start else place["served"]
    left = -(-(rows - served) // loader.batch_size)
    done = len(loader) - left
    if left:
        done -= done % accumulate  # the next window is a whole one
    shift = done - progress["current"]["ready"]
    progress["current"] = {name: count + shift for name, count in progress["current"].items()}
    states[0] = place | {"served": served, "done": done, "batch_size": loader.batch_size}
    loop["state_dict"]["combined_loader"] = states
    rank_zero_info(
        f"resumed in epoch {place['epoch']} behind {served} of {rows} packed rows; {left} batches of "
        f"{loader.batch_size} are left in it"
    )


def _forget_best(checkpoint: dict[str, Any]) -> None:
    """Losses on other validation rows are no mark to beat: callbacks that compare them begin anew."""
    callbacks = checkpoint.get("callbacks", {})
    for name in [name for name in callbacks if name.startswith(_COMPARING)]:
        del callbacks[name]


def _named_settings(data: Any) -> dict[str, Any]:
    """The DataModule's settings: its public attributes, without what it found out and what Lightning keeps there."""
    settings = {name: plain(value) for name, value in vars(data).items() if not name.startswith("_")}
    return {"class": type(data).__name__} | {name: settings[name] for name in settings if name not in _NO_ROWS}


def _reasons(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    named = differences(then["settings"], now["settings"], "data.")
    if not named:
        named = [f"the rows themselves ({then['rows']} packed rows were, {now['rows']} are there)"]
    return "; ".join(named[:_SHOWN])
