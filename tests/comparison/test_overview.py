"""TensorBoard's view of a comparison, read back."""

from __future__ import annotations

from pathlib import Path

from hand_made_results import finished
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

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


def test_overlap_needs_two_tasks() -> None:
    assert overlap_figure(RESULTS[:1], "ESFTToken") is None
    assert overlap_figure(RESULTS, "LoRA") is None
    assert overlap_figure(RESULTS, "ESFTToken") is not None
