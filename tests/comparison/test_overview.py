"""TensorBoard's view of a comparison, read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hand_made_results import finished
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from esft_lightning.comparison.hparams import OUTCOMES, settings_of
from esft_lightning.comparison.overview import LAYOUT, overlap_figure, write_overview

RESULTS = [
    finished(task, "ESFTToken", score=40, general=50, selected_experts={"1": experts}, affinity={"num_experts": 8})
    for task, experts in (("law", [0, 1]), ("math", [1, 2]))
]


def test_the_overview_holds_layout_table_and_overlap_and_is_written_anew(tmp_path: Path) -> None:
    write_overview(RESULTS, tmp_path)
    folder = write_overview(RESULTS, tmp_path)
    assert len(list(folder.iterdir())) == 1
    events = EventAccumulator(str(folder)).Reload()
    tags = events.Tags()
    assert tags["images"] == ["overlap/ESFTToken"]
    assert {"results/law/text_summary", "results/math/text_summary"} <= set(tags["tensors"])
    text = events.Tensors("results/law/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| ESFTToken |" in text
    layout = layout_pb2.Layout()
    layout.ParseFromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == list(LAYOUT)


def test_the_list_of_settings_is_that_of_all_runs(tmp_path: Path) -> None:
    full = finished("law", "FullFineTuning", score=40, general=50)
    full = replace(full, spec=full.spec.with_changes(strategy_args={"freeze_router": True}, data={"batch_size": 2}))
    events = EventAccumulator(str(write_overview([*RESULTS, full], tmp_path))).Reload()
    content = events.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    listed = metadata.parse_experiment_plugin_data(content)
    names = [info.name for info in listed.hparam_infos]
    assert set(names) == set(settings_of(full)) | set(settings_of(RESULTS[0]))
    assert {"strategy", "task", "with/strategy/freeze_router", "with/data/batch_size"} <= set(names)
    assert sorted(names)[:4] == ["learning_rate", "seed", "strategy", "task"]
    assert [info.name.tag for info in listed.metric_infos] == list(OUTCOMES)


def test_overlap_needs_two_tasks() -> None:
    assert overlap_figure(RESULTS[:1], "ESFTToken") is None
    assert overlap_figure(RESULTS, "LoRA") is None
    assert overlap_figure(RESULTS, "ESFTToken") is not None
