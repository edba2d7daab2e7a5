"""How contenders are measured: side by side, a step of each in turn, every one in a process of its own.

A process builds the model once and then forks, so that contenders share the weights that they do not change, and each
has a peak memory of its own. Only one of them works at a time. The order is turned by one in every round, so that none
always follows the same other. Between steps of large models each gives freed memory back to the system.
"""

from __future__ import annotations

import copy
import gc
import multiprocessing
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from benchmarks.contenders import Contender
from benchmarks.resident import peak_resident_bytes, reset_peak, resident_bytes
from benchmarks.saved_activations import saved_storages
from benchmarks.shapes import (
    Batch,
    Selection,
    Shape,
    build_model,
    chosen_experts,
    make_batch,
    most_used,
    selected_row_share,
    small,
)
from benchmarks.timing import clock
from esft_lightning.moe import find_moe_layers
from esft_lightning.moe.kept_memory import give_back_freed

_ENDED = "its process ended without a word; if memory ran out, take fewer contenders or a smaller shape"
_PAUSE = 0.02  # seconds before each step: threads of the contender before stop spinning
_LARGE = 2**28  # bytes of weights from which on contenders give back what they freed, or memory would run out


@dataclass
class Measurement:
    """What was seen of one contender.

    Attributes:
        label: The contender.
        seconds: Of each step.
        parts: Seconds of the parts of each step, where the contender times any.
        loss: Of the first step.
        trained_parameters: How many parameters train.
        needed_bytes: What gradients and AdamW's two moments of the trained parameters take at the least.
        gradient_bytes: Gradients held when the update has been made, of all parameters.
        optimizer_bytes: Optimizer state.
        saved_bytes: What autograd keeps for backward, weights not counted, each storage once.
        peak_bytes: Most resident memory above the base's weights: whatever was added to train, and while training.
        checkpoint_bytes: What has to be stored to use the result.
    """

    label: str
    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    loss: float = 0.0
    trained_parameters: int = 0
    needed_bytes: int = 0
    gradient_bytes: int = 0
    optimizer_bytes: int = 0
    saved_bytes: int = 0
    peak_bytes: int = 0
    checkpoint_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def interleave(
    contenders: Sequence[Contender],
    model: Any,
    batch: Batch,
    selections: Sequence[Selection],
    *,
    steps: int,
    warm_up: int = 2,
    threads: int = 2,
    miniature: tuple[Any, Batch, Selection] | None = None,
) -> list[Measurement]:
    """Measure contenders on the same frozen model, data and number of steps.

    Args:
        contenders: Not yet prepared; each is prepared in a process of its own.
        model: Frozen. No parallel region may have run in this process: children could not open their own.
        batch: The data of every step.
        selections: What each contender trains.
        steps: Timed steps of each.
        warm_up: Steps before them.
        threads: Threads of each contender.
        miniature: A small model, batch and selection that each contender trains for a step first, so that loading of
            library code does not count as its memory.

    Returns:
        One measurement per contender, in their order.

    Raises:
        RuntimeError: If a contender fails, with its traceback.
    """
    context = multiprocessing.get_context("fork")
    found = [Measurement(contender.label) for contender in contenders]
    lines: list[Connection] = []
    processes = []
    gc.collect()
    gc.freeze()  # what is there already is not looked through again by any child
    try:
        for contender, selection in zip(contenders, selections, strict=True):
            ours, theirs = context.Pipe()
            arguments = (contender, model, batch, selection, miniature, threads, theirs)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            lines.append(ours)
            processes.append(process)
            _take(ours, contender)  # the libraries' code is loaded; prepared when it is its turn
        for measurement, line, contender in zip(found, lines, contenders, strict=True):
            _tell(line, "look", contender)
            for name, value in _take(line, contender).items():
                setattr(measurement, name, value)
        for turn in tqdm(range(warm_up + steps), desc="rounds", unit="round", leave=False, disable=None):
            for position in range(len(contenders)):
                number = (turn + position) % len(contenders)
                time.sleep(_PAUSE)
                _tell(lines[number], "step", contenders[number])
                seconds, parts = _take(lines[number], contenders[number])
                if turn >= warm_up:
                    found[number].seconds.append(seconds)
                    for name, value in parts.items():
                        found[number].parts.setdefault(name, []).append(value)
    finally:
        for line, process in zip(lines, processes, strict=True):
            # Processes that were forked later hold this end of the line, too: closing it would not be noticed.
            if process.is_alive():
                with suppress(BrokenPipeError):  # it may be ending at this moment
                    line.send("leave")
            line.close()
            process.join()
        gc.unfreeze()
    return found


def measure_shape(
    shape: Shape,
    dtype: torch.dtype,
    contenders: Sequence[Contender],
    counts: Sequence[int],
    *,
    steps: int,
    warm_up: int = 2,
    threads: int = 2,
) -> dict[str, Any]:
    """Measure contenders on one shape.

    Args:
        shape: Which model, and how many tokens.
        dtype: Of the weights.
        contenders: Not yet prepared.
        counts: How many experts a layer each of them trains.
        steps: Timed steps of each.
        warm_up: Steps before them.
        threads: Threads of each.

    Returns:
        The shape's facts, and `contenders`: a `Measurement` as a dictionary each.
    """
    torch.set_num_threads(1)
    miniature_shape = small(shape)
    miniature = build_model(miniature_shape, dtype), make_batch(miniature_shape)
    few = most_used(*miniature, 2)
    model, batch = build_model(shape, dtype), make_batch(shape)
    chosen = chosen_experts(model, batch)
    selections = {count: most_used(model, batch, count) for count in set(counts)}
    found = interleave(
        contenders,
        model,
        batch,
        [selections[count] for count in counts],
        steps=steps,
        warm_up=warm_up,
        threads=threads,
        miniature=(*miniature, few),
    )
    return {
        "shape": asdict(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "tokens": shape.tokens,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weight_bytes": sum(parameter.nbytes for parameter in model.parameters()),
        "warm_up": warm_up,
        "selected_activation_bytes": {
            str(count): selected_activation_bytes(model, chosen, selections[count]) for count in selections
        },
        "contenders": [
            {**measurement.to_dict(), "selected": count} for measurement, count in zip(found, counts, strict=True)
        ],
        "selected_rows": {str(count): selected_row_share(chosen, selections[count]) for count in selections},
    }


def selected_activation_bytes(model: Any, chosen: Mapping[int, Tensor], selection: Selection) -> int:
    """What weight gradients of the selected experts need: the inputs of both projections, for the rows they compute.

    Args:
        model: The model.
        chosen: What `chosen_experts` gives.
        selection: The selected experts.
    """
    total = 0
    for entry in find_moe_layers(model):
        down = entry.experts.get_parameter("down_proj")  # [E, H, I]
        index = chosen[entry.layer]
        rows = torch.isin(index, torch.tensor(list(selection.get(entry.layer, [])), device=index.device)).sum()
        total += int(rows) * (down.shape[1] + down.shape[2]) * down.element_size()
    return total


def _tell(line: Connection, word: str, contender: Contender) -> None:
    """Send a contender's process what it has to do.

    Raises:
        RuntimeError: If it ended.
    """
    try:
        line.send(word)
    except BrokenPipeError:
        raise RuntimeError(f"{contender.label}: {_ENDED}") from None


def _take(line: Connection, contender: Contender) -> Any:
    """The next message of a contender's process.

    Raises:
        RuntimeError: If it failed or ended.
    """
    try:
        kind, content = line.recv()
    except (EOFError, ConnectionResetError):
        raise RuntimeError(f"{contender.label}: {_ENDED}") from None
    if kind == "failed":
        raise RuntimeError(f"{contender.label} failed:\n{content}")
    return content


def _work(
    contender: Contender,
    model: Any,
    batch: Batch,
    selection: Selection,
    miniature: tuple[Any, Batch, Selection] | None,
    threads: int,
    line: Connection,
) -> None:
    """A contender's process: says what it saw, then takes a step whenever it is told to."""
    large = is_large(model)
    try:
        torch.set_num_threads(threads)
        if miniature is not None:
            small_model, small_batch, small_selection = miniature
            rehearsal = copy.deepcopy(contender)
            rehearsal.prepare(small_model, small_selection, small_batch)
            rehearsal.step(small_batch)
            saved_bytes(rehearsal, small_batch)
            del rehearsal
        line.send(("ready", None))
        while True:
            word = line.recv()
            if word == "leave":
                return
            if word == "look":
                answer = "facts", look_at(contender, model, batch, selection)
            else:
                started = clock(contender.device)
                contender.step(batch)
                answer = "step", (clock(contender.device) - started, contender.parts)
            if large:
                give_back_freed()
            line.send(answer)
    except Exception:
        line.send(("failed", traceback.format_exc()))


def is_large(model: nn.Module) -> bool:
    """Whether contenders that train this model give back what they freed, after every step."""
    return sum(parameter.nbytes for parameter in model.parameters()) >= _LARGE


def look_at(contender: Contender, model: Any, batch: Batch, selection: Selection) -> dict[str, Any]:
    """Prepare a contender, take two steps, and see what they cost in memory.

    Args:
        contender: Not yet prepared.
        model: Frozen; changed in place.
        batch: The data.
        selection: Experts to train.

    Returns:
        Fields of `Measurement` by name.
    """
    gc.collect()
    before = resident_bytes()
    reset_peak()
    contender.prepare(model, selection, batch)
    held: dict[str, int] = {}

    def count() -> None:
        gradients = [parameter.grad for parameter in _everything(contender) if parameter.grad is not None]
        held["gradient_bytes"] = sum(gradient.nbytes for gradient in gradients)
        held["optimizer_bytes"] = sum(
            value.nbytes
            for state in (contender.optimizer.state.values() if contender.optimizer is not None else ())
            for value in state.values()
            if isinstance(value, Tensor)
        )

    contender.on_update = count
    loss = contender.step(batch)
    contender.step(batch)
    peak = peak_resident_bytes()
    contender.on_update = None
    return {
        "loss": loss,
        "trained_parameters": sum(parameter.numel() for parameter in contender.trained),
        "needed_bytes": sum(3 * parameter.nbytes for parameter in contender.trained),
        **held,
        "saved_bytes": saved_bytes(contender, batch),
        "peak_bytes": max(0, peak - before),
        "checkpoint_bytes": contender.checkpoint_bytes(),
    }


def _everything(contender: Contender) -> list[nn.Parameter]:
    known = {id(parameter): parameter for parameter in (*contender.model.parameters(), *contender.trained)}
    return list(known.values())


def saved_bytes(contender: Contender, batch: Batch) -> int:
    """Bytes that autograd keeps for the backward of one loss: each storage once, parameters and buffers not counted."""
    model = contender.model
    with saved_storages([*model.parameters(), *model.buffers()]) as saved:
        loss = contender.loss(batch)
    del loss
    return saved.bytes
