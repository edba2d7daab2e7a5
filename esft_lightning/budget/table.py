"""Budgets as people and programs read them: tables on the terminal, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from esft_lightning.budget.devices import place
from esft_lightning.budget.memory import MemoryEstimate
from esft_lightning.budget.reckoning import StrategyBudget
from esft_lightning.budget.sizes import show_bytes, show_count

_GIGA = 1e9


def parameter_table(budgets: Sequence[StrategyBudget]) -> Table:
    """Trained parameters by part of the model, their share, and the adapter's size."""
    base = budgets[0].parameters
    table = Table(title=f"Trained parameters, of {show_count(base.total)}")
    table.add_column("strategy", no_wrap=True)
    for row in base.groups:
        table.add_column(row.group, justify="right")
    for heading in ("trained", "share", "adapter"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("the base has", *(show_count(row.total) for row in base.groups), show_count(base.total), "", "")
    table.add_section()
    for budget in budgets:
        counted = budget.parameters
        groups = [show_count(row.trained) if row.trained else "–" for row in counted.groups]
        table.add_row(
            budget.label,
            *groups,
            show_count(counted.trained),
            f"{counted.share:.2%}",
            show_bytes(counted.adapter_bytes),
        )
    return table


def memory_table(budgets: Sequence[StrategyBudget], device_bytes: int) -> Table:
    """Bytes of training without and with gradient checkpointing, and the devices that hold it."""
    table = Table(
        title=f"Training memory in GiB, and devices of {show_bytes(device_bytes)} that hold it",
        caption="right of the devices: with gradient checkpointing. Devices: split by whole layers, in order, all of "
        "their memory usable",
    )
    table.add_column("strategy", no_wrap=True)
    for heading in ("weights", "gradients", "optimizer", *("activations", "all", "devices") * 2):
        table.add_column(heading, justify="right")
    for budget in budgets:
        plain, checkpointed = budget.memory, budget.memory_checkpointed
        if plain is None or checkpointed is None:
            continue
        cells = [_gib(size) for size in (plain.weights, plain.gradients, plain.optimizer)]
        for memory in (plain, checkpointed):
            cells += [_gib(memory.activations), _gib(memory.total), _devices(memory, device_bytes)]
        table.add_row(budget.label, *cells)
    return table


def work_table(budgets: Sequence[StrategyBudget]) -> Table:
    """Floating-point operations per token."""
    table = Table(
        title="GFLOPs per token",
        caption="matrix products and attention, a multiply-add as two; backward: what frozen weights leave of it; "
        "recomputed: what gradient checkpointing adds",
    )
    table.add_column("strategy", no_wrap=True)
    for heading in ("forward", "backward", "both", "recomputed"):
        table.add_column(heading, justify="right")
    for budget in budgets:
        if (work := budget.work) is not None:
            numbers = (work.forward, work.backward, work.forward + work.backward, work.recomputation)
            table.add_row(budget.label, *(f"{number / _GIGA:,.4g}" for number in numbers))
    return table


def as_json(budgets: Sequence[StrategyBudget], device_bytes: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, with plain numbers: bytes, parameters, operations per token.

    Args:
        budgets: What was reckoned.
        device_bytes: Usable bytes of a device.
        settings: What it was reckoned for; kept as it is.
    """
    base = budgets[0].parameters
    return {
        "settings": {**settings, "device_bytes": device_bytes},
        "base": {"parameters": base.total, "groups": {row.group: row.total for row in base.groups}},
        "strategies": [_strategy(budget, device_bytes) for budget in budgets],
    }


def _strategy(budget: StrategyBudget, device_bytes: int) -> dict[str, Any]:
    counted, work = budget.parameters, budget.work
    found: dict[str, Any] = {
        "label": budget.label,
        "trained": counted.trained,
        "share": counted.share,
        "groups": {row.group: row.trained for row in counted.groups if row.trained},
        "adapter_bytes": counted.adapter_bytes,
    }
    for key, memory in (("memory", budget.memory), ("memory_checkpointed", budget.memory_checkpointed)):
        if memory is not None:
            placement = place(memory, device_bytes)
            found[key] = {
                "weights": memory.weights,
                "gradients": memory.gradients,
                "optimizer": memory.optimizer,
                "activations": memory.activations,
                "rounded_copy": memory.copy,
                "total": memory.total,
                "devices": placement.devices,
                "largest_part": {"name": placement.largest, "bytes": placement.largest_bytes},
            }
    if work is not None:
        found["flops_per_token"] = {
            "forward": work.forward,
            "backward": work.backward,
            "recomputation": work.recomputation,
        }
    return found


def _gib(size: int) -> str:
    gib = size / 2**30
    return f"{gib:,.2f}" if gib < 100 else f"{gib:,.0f}"


def _devices(memory: MemoryEstimate, device_bytes: int) -> str:
    placement = place(memory, device_bytes)
    return "none" if placement.devices is None else str(placement.devices)
