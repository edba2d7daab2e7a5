"""Several adapters on one base, one of them in use: switching swaps references, no weight is copied.

Every adapter keeps its own parts (banks of experts, LoRA layers, replaced parameters); the base's weights are shared
and never written to.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from esft_lightning.adapters.on_model import Parts, load_adapter, remove_adapter
from esft_lightning.moe import banks


class AdapterSet:
    """Adapters by name on one base.

    Example:
        adapters = AdapterSet(load_model("tiny"))
        adapters.load("law", "runs/law/adapter")
        adapters.load("translation", "runs/translation/adapter")
        adapters.use("law")  # from here on the model answers with it
        adapters.use(None)   # the bare base

    Attributes:
        model: The base, with the adapter in use on it.
        active: Name of the adapter in use; None where the base is bare.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Take a bare base.

        Args:
            model: The base; from here on only this set puts adapters on it.

        Raises:
            ValueError: If there is an adapter on it already.
        """
        if getattr(model, "_esft_adapter", None) is not None or next(banks(model), None) is not None:
            raise ValueError("the model carries an adapter already; call remove_adapter(model) first")
        self.model = model
        self.active: str | None = None
        self._adapters: dict[str, Parts] = {}

    @property
    def names(self) -> list[str]:
        """Names of the loaded adapters, in the order in which they came."""
        return list(self._adapters)

    def load(self, name: str, folder: str | Path, *, force: bool = False) -> None:
        """Read an adapter folder and keep it at hand; the one in use stays in use.

        Args:
            name: What to call it.
            folder: The adapter folder.
            force: Load it even if it was trained on another base, as long as every shape fits.

        Raises:
            AdapterError: If the folder does not fit the base; nothing changes then.
            ValueError: If there is one of that name.
        """
        if name in self._adapters:
            raise ValueError(f"there is an adapter {name!r} already; remove it first, or choose another name")
        before = self.active
        self.use(None)
        try:
            load_adapter(self.model, folder, force=force)
            self._adapters[name] = Parts.on(self.model)
        finally:
            remove_adapter(self.model)
            self.use(before)

    def use(self, name: str | None) -> PreTrainedModel:
        """Put an adapter to use in place of the one before.

        Args:
            name: Its name; None leaves the bare base.

        Returns:
            The model.

        Raises:
            KeyError: If there is none of that name.
        """
        if name is not None and name not in self._adapters:
            raise KeyError(f"there is no adapter {name!r}; loaded: {', '.join(self._adapters) or 'none'}")
        if name != self.active:
            remove_adapter(self.model)
            self.active = None
            if name is not None:
                self._adapters[name].put(self.model)
                self.active = name
        return self.model

    def remove(self, name: str) -> None:
        """Forget an adapter; if it was in use, the base is bare again.

        Raises:
            KeyError: If there is none of that name.
        """
        if name not in self._adapters:
            raise KeyError(f"there is no adapter {name!r}; loaded: {', '.join(self._adapters) or 'none'}")
        if name == self.active:
            self.use(None)
        del self._adapters[name]

    def bytes(self, name: str) -> int:
        """Memory that an adapter's own tensors take."""
        return sum(tensor.nbytes for tensor in self._adapters[name].tensors())
