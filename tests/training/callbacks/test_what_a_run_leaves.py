"""What a run leaves: adapters, TensorBoard events, the table of what is trained."""

import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import make_module, train, write_base, write_rows

from esft_lightning.adapters import load_adapter
from esft_lightning.affinity import AffinityProfile
from esft_lightning.strategies import ESFTToken, training_table
from esft_lightning.training.callbacks import AdapterCheckpoint, BudgetReport, RoutingMonitor
from esft_lightning.training.module import ExpertFineTuner


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExpertFineTuner, str]:
    root = tmp_path_factory.mktemp("run")
    base, rows = write_base(root / "base"), write_rows(root / "rows.jsonl")
    module, _, trainer = train(
        root, base, rows, ESFTToken(), steps=6, logger=TensorBoardLogger(root, name="x", default_hp_metric=False),
        callbacks=[AdapterCheckpoint(), BudgetReport(), RoutingMonitor()], log_every_n_steps=1,
        limit_val_batches=1.0, check_val_every_n_epoch=None, val_check_interval=2,
    )  # fmt: skip
    return Path(str(trainer.log_dir)), module, base


def test_the_adapter_makes_the_trained_model_of_a_fresh_base(run: tuple[Path, ExpertFineTuner, str]) -> None:
    folder, module, base = run
    ids = torch.arange(3, 40)[None]
    fresh = make_module(base, ESFTToken()).load_base()
    with torch.no_grad():
        before = fresh(ids, use_cache=False).logits
        wanted = module.model.eval()(ids, use_cache=False).logits
        got = load_adapter(fresh, folder / "adapter")(ids, use_cache=False).logits
    assert not torch.allclose(before, wanted, atol=1e-4)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    assert (folder / "adapter_best" / "expert_cfg.json").is_file()


def test_the_adapter_says_which_profile_and_data_chose_its_experts(run: tuple[Path, ExpertFineTuner, str]) -> None:
    folder, module, _ = run
    origin = json.loads((folder / "adapter" / "adapter_config.json").read_text())["provenance"]
    profile = AffinityProfile.load(folder / "affinity.safetensors")
    assert origin["profile"]["hash"] == profile.digest()
    assert origin["data_fingerprint"] == profile.metadata["data_fingerprint"] != ""
    assert origin["base"]["weight_fingerprint"] == module.base_fingerprint


def test_the_report_says_how_what_trains_is_kept(
    run: tuple[Path, ExpertFineTuner, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    train(tmp_path, run[2], rows, ESFTToken(), steps=1, callbacks=[BudgetReport()], enable_progress_bar=True)
    assert "kept in fp32, 16 bytes a parameter" in " ".join(capsys.readouterr().out.split())


def test_tensorboard_has_curves_pictures_and_hyper_parameters(run: tuple[Path, ExpertFineTuner, str]) -> None:
    folder, module, _ = run
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()
    assert {
        "train/loss", "train/learning_rate", "train/tokens_per_second", "val/loss", "val/token_accuracy",
        "trained_parameters", "routing/entropy", "routing/entropy_layer_1", "routing/trained_share", "routing/drift",
    } <= set(tags["scalars"])  # fmt: skip
    assert {"routing/profile", "routing/validation"} <= set(tags["images"])
    assert "_hparams_/session_start_info" in events.summary_metadata
    assert [event.step for event in events.Scalars("val/loss")] == [1, 3, 5]
    assert all(0 <= event.value <= 1 for event in events.Scalars("routing/entropy"))
    trained = sum(row.trained for row in training_table(module.model))
    assert events.Scalars("trained_parameters")[0].value == trained > 0
