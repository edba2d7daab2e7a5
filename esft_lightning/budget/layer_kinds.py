"""Layers that are alike: a model is worked on with one layer of each kind, and that one counts for all of them.

At 236B a strategy would otherwise touch some thousand modules; what is counted stays the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from esft_lightning.moe import find_moe_layers


class LayerStack:
    """The decoder's layers, of which some may stand for others.

    Attributes:
        layers: All of them, in order.
    """

    def __init__(self, model: nn.Module) -> None:
        """Find the layers.

        Args:
            model: A Transformers MoE causal LM; whole.
        """
        first = find_moe_layers(model)[0]
        self._prefix = first.name.split(f".{first.layer}.")[0] + "."
        self._holder = model.get_submodule(self._prefix[:-1])
        self.layers: list[nn.Module] = list(self._holder.children())
        self._signatures = [layer_signature(layer) for layer in self.layers]

    def kinds(self, told_apart: Mapping[int, Hashable]) -> tuple[int, ...]:
        """Which layer stands for each: the first that is built like it.

        Args:
            told_apart: Layer number → what a strategy does to it besides; layers that differ here are not alike.
        """
        first: dict[Any, int] = {}
        return tuple(
            first.setdefault((signature, told_apart.get(number)), number)
            for number, signature in enumerate(self._signatures)
        )

    @contextmanager
    def only(self, numbers: Sequence[int]) -> Iterator[None]:
        """Let the model have these layers alone, under their own numbers; before and after it has what it had."""
        before = dict(self._holder._modules)
        self._put({str(number): self.layers[number] for number in sorted(set(numbers))})
        try:
            yield
        finally:
            self._put(before)

    def _put(self, modules: Mapping[str, nn.Module | None]) -> None:
        self._holder._modules.clear()
        self._holder._modules.update(modules)

    def repetitions(self, kinds: Sequence[int]) -> Callable[[str], int]:
        """How many layers a parameter's layer stands for, by the parameter's name; 1 outside of the layers."""
        counts = Counter(kinds)

        def of(name: str) -> int:
            if not name.startswith(self._prefix):
                return 1
            return counts[int(name.removeprefix(self._prefix).partition(".")[0])]

        return of


def layer_signature(layer: nn.Module) -> Hashable:
    """Equal for layers that are built alike and train alike, wherever they stand."""
    modules = tuple(
        (name, type(module).__name__, *filter(_setting, vars(module).items())) for name, module in layer.named_modules()
    )
    parameters = tuple(
        (name, tuple(value.shape), value.dtype, value.requires_grad) for name, value in layer.named_parameters()
    )
    return modules, parameters


def _setting(item: tuple[str, Any]) -> bool:
    """Whether a module's attribute is a plain setting that may tell layers apart; its place in the model does not."""
    return item[0] not in ("layer_idx", "layer_index") and isinstance(item[1], bool | int | float | str | None)
