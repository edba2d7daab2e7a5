"""A base's safetensors files, read a few tensors at a time, as its model's parameters and back.

A checkpoint's tensors are not a model's parameters: most families store each expert for itself where the model has one
fused tensor, some under other names. Transformers knows how one becomes the other, family by family; here its
conversions run on one *unit* at a time: the least set of tensors that makes whole parameters. So a model of any size is
read, changed and written again in the memory of its largest unit, one layer's experts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
    revert_weight_conversion,
)

from esft_lightning.errors import FileError, UserError, one_line
from esft_lightning.moe.auto_class import auto_class
from esft_lightning.moe.base_source import base_source
from esft_lightning.moe.discovery import find_moe_layers
from esft_lightning.moe.fingerprint import fingerprint_of_samples, sample_of
from esft_lightning.moe.weight_files import weight_files

# What of a hub repository is not downloaded: the same weights in other forms.
_OTHER_WEIGHTS = ["*.bin", "*.pt", "*.pth", "*.gguf", "*.h5", "*.msgpack", "*.onnx*", "original/*", "consolidated*"]


class CheckpointError(UserError, ValueError):
    """A base checkpoint cannot be read, or cannot be taken apart."""


@dataclass(frozen=True)
class Unit:
    """Tensors of a checkpoint that make one or more whole parameters.

    Attributes:
        keys: Names in the checkpoint, in the order that the conversion wants.
        target: Name of the (first) parameter; None where the model has no such parameter, and the tensor is passed on.
        parameters: Names of all of its parameters.
    """

    keys: list[str]
    target: str | None
    parameters: list[str]
    patterns: list[str] = field(repr=False, default_factory=list)
    transform: WeightConverter | None = field(repr=False, default=None)


def base_folder(base: str | Path, revision: str | None = None) -> Path:
    """The local folder of a base: `tiny`, a folder, or a hub id, whose files are downloaded.

    Raises:
        BaseNotFoundError: If there is no such folder or hub id.
        CheckpointError: If its files cannot be downloaded.
    """
    folder = Path(base_source(base, revision))
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(base), revision=revision, ignore_patterns=_OTHER_WEIGHTS))
    except Exception as error:  # whatever the network, the disk or the hub raise: the user needs the name
        raise CheckpointError(f"{base} cannot be downloaded ({one_line(error)})") from error


def skeleton(
    base: str | Path,
    revision: str | None = None,
    *,
    dtype: torch.dtype | None = None,
    trust_remote_code: bool = False,
    attn_implementation: str | None = None,
) -> PreTrainedModel:
    """The model of a base without weights, on the meta device, from its configuration alone.

    Args:
        base: `tiny` (the embedded model), a folder with a `config.json` (or that file), or a hub id.
        revision: Hub revision (branch, tag or commit).
        dtype: Dtype of the weights that are not there; None takes the configuration's, or fp32.
        trust_remote_code: Run model code that comes with the configuration. Only for sources that you trust.
        attn_implementation: Transformers' attention implementation; None lets Transformers choose.

    Returns:
        The model in eval mode.

    Raises:
        NotAnMoEError: If it has no routed experts.
        BaseNotFoundError: If the configuration cannot be found.
        CheckpointError: If the configuration is damaged, or no model can be made of it.
    """
    # A copy, since models made from one configuration object would share its switches.
    config = copy.deepcopy(read_config(base, revision, trust_remote_code))
    chosen = {"dtype": dtype, "attn_implementation": attn_implementation}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    with named(base, "no model can be made of its configuration"), torch.device("meta"):
        model = auto_class(config).from_config(config, trust_remote_code=trust_remote_code, **chosen)
    find_moe_layers(model)
    return model.eval()


def read_config(base: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The Transformers configuration of a base.

    Args:
        base: As `base_folder` takes it, or the file itself.
        revision: Hub revision.
        trust_remote_code: Run code that comes with it.

    Raises:
        BaseNotFoundError: If it cannot be found.
        CheckpointError: If it cannot be read.
    """
    source = base_source(base, revision)
    with named(base, "its configuration cannot be read"):
        return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)


@contextmanager
def named(base: str | Path, what: str) -> Iterator[None]:
    """Errors that Transformers raises of a base's files, with the base's name; memory and interrupts pass.

    Raises:
        CheckpointError: In place of what was raised.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a configuration may be wrong in every way, and there is no class for that
        raise CheckpointError(f"{base}: {what} ({type(error).__name__}: {one_line(error)})") from error


class BaseCheckpoint:
    """A folder of safetensors files and the model that they belong to.

    Attributes:
        folder: The folder.
        model: The model, on the meta device: names, shapes and conversions.
        files: Checkpoint tensor → the file that holds it.
        units: Every tensor of the checkpoint, in units, in natural order.
    """

    def __init__(self, folder: Path) -> None:
        """Read names and shapes; no weight is read.

        Args:
            folder: A model folder, as `base_folder` finds it.

        Raises:
            CheckpointError: If there are no safetensors files, or the weights are quantised.
            NotAnMoEError: If the model has no routed experts.
        """
        self.folder = folder
        self.model = skeleton(folder)
        if getattr(self.model.config, "quantization_config", None) is not None:
            raise CheckpointError(
                f"{folder} holds quantised weights, which cannot be changed in place; load it dequantised, "
                "save_pretrained it, and name that folder"
            )
        self.files = _find_files(folder)
        self._aliases = {name: first for first, *others in _same_parameters(self.model) for name in others}
        self._transforms = get_model_conversion_mapping(self.model)
        self.units = self._plan()

    def canonical(self, name: str) -> str:
        """The one name of a tied parameter: that of `named_parameters()`."""
        return self._aliases.get(name, name)

    def read(self, unit: Unit) -> dict[str, Tensor]:
        """A unit's tensors as they are stored; they may be backed by the file, so they must not be written to.

        Raises:
            CheckpointError: If a file cannot be read.
        """
        found: dict[str, Tensor] = {}
        # A file is opened once a unit, since its header is read each time, and is not kept, since it would stay mapped.
        for name in sorted({self.files[key] for key in unit.keys}):
            with _opened(self.folder / name) as file:
                found |= {key: file.get_tensor(key) for key in unit.keys if self.files[key] == name}
        return found

    def parameters(self, unit: Unit, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a unit's tensors are in the model.

        Args:
            unit: A unit with a target.
            tensors: Its tensors by checkpoint name.

        Returns:
            Parameter values by name in the model.
        """
        if unit.transform is None:
            return {str(unit.target): tensors[unit.keys[0]]}
        transform = copy.deepcopy(unit.transform)
        for key, pattern in zip(unit.keys, unit.patterns, strict=True):
            # Conversions take tensors, or calls that make them; a call lets each go as soon as it is used.
            transform.add_tensor(str(unit.target), key, pattern, lambda key=key: tensors[key])  # type: ignore[arg-type]
        with named(self.folder, f"'{unit.target}' cannot be made of the tensors that are there"):
            made = transform.convert(str(unit.target), model=self.model, config=self.model.config)
        return {name: value[0] if isinstance(value, list) else value for name, value in made.items()}

    def of_experts(self, unit: Unit, num_experts: int, expert_ids: Sequence[int]) -> dict[str, Tensor]:
        """Some experts' part of a unit's parameters, `[N, …]`; where experts are stored one by one, no other is read.

        Args:
            unit: Tensors that make fused parameters `[E, …]`.
            num_experts: E.
            expert_ids: The N experts.
        """
        by_pattern: dict[str, list[int]] = {}
        for place, pattern in enumerate(unit.patterns):
            by_pattern.setdefault(pattern, []).append(place)
        if by_pattern and all(len(places) == num_experts for places in by_pattern.values()):
            # In natural order, so that the i-th tensor of a pattern is expert i's.
            chosen = [places[expert] for places in by_pattern.values() for expert in expert_ids]
            unit = replace(unit, keys=[unit.keys[i] for i in chosen], patterns=[unit.patterns[i] for i in chosen])
            return self.parameters(unit, self.read(unit))
        return {name: value[list(expert_ids)] for name, value in self.parameters(unit, self.read(unit)).items()}

    def tensors(self, unit: Unit, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back: a unit's parameters as the checkpoint stores them.

        Raises:
            CheckpointError: If Transformers' conversion has no way back to the names that the checkpoint has.
        """
        if unit.transform is None:
            return {unit.keys[0]: parameters[str(unit.target)]}
        made = revert_weight_conversion(self.model, dict(parameters))
        if set(made) != set(unit.keys):
            odd = sorted(set(unit.keys) ^ set(made))[0]
            raise CheckpointError(
                f"{self.folder}: '{unit.target}' cannot be written back under the names that it has there (the first "
                f"that differs is '{odd}'); load the base and save_pretrained it with this version of Transformers, "
                "and name that folder"
            )
        return made

    def fingerprint(self) -> str:
        """`model_fingerprint` of the model that the folder loads to, without loading it: one unit at a time.

        Raises:
            CheckpointError: If the folder lacks a parameter.
        """
        samples: dict[str, bytes] = {}
        for unit in self.units:
            if unit.target is not None:
                for name, value in self.parameters(unit, self.read(unit)).items():
                    samples.setdefault(self.canonical(name), sample_of(self.canonical(name), value))
        names = [name for name, _ in self.model.named_parameters()]
        if missing := [name for name in names if name not in samples]:
            raise CheckpointError(f"{self.folder}: no weights for {len(missing)} parameters, the first '{missing[0]}'")
        return fingerprint_of_samples(self.model.config, (samples[name] for name in names))

    def _plan(self) -> list[Unit]:
        """Which tensors belong together: the same matching as in Transformers' own loading."""
        renamings = [entry for entry in self._transforms if isinstance(entry, WeightRenaming)]
        converters = [entry for entry in self._transforms if isinstance(entry, WeightConverter)]
        by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
        wanted, prefix = self.model.state_dict(), self.model.base_model_prefix
        units: dict[str, Unit] = {}
        for key in sorted(self.files, key=dot_natural_key):
            name, pattern = rename_source_key(key, renamings, converters, prefix, wanted)
            if name not in wanted and key in wanted:
                name, pattern = rename_source_key(key, [], [], prefix, wanted)
            if name not in wanted:
                units[f"unused {key}"] = Unit([key], None, [])
                continue
            if pattern is None:
                units[name] = Unit([key], name, [name])
                continue
            unit = units.setdefault(name, Unit([], name, [], transform=by_pattern[pattern]))
            unit.keys.append(key)
            unit.patterns.append(pattern)
        # What the way back is made of: the conversions that this checkpoint needed.
        self.model._weight_conversions = [entry for entry in self._transforms if entry.was_used()]  # type: ignore[assignment]
        shapes = _shapes(self.folder, self.files)
        for unit in units.values():
            if unit.transform is not None:
                unit.parameters.extend(self.parameters(unit, {key: shapes[key] for key in unit.keys}))
        return list(units.values())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, whose faults are said with its name."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error


def _shapes(folder: Path, files: Mapping[str, str]) -> dict[str, Tensor]:
    """Every tensor of a checkpoint without its values, from the headers."""
    found: dict[str, Tensor] = {}
    for name in sorted(set(files.values())):
        with _opened(folder / name) as file:
            for key in file.keys():  # noqa: SIM118 (a file handle, not a dict)
                found[key] = torch.empty(file.get_slice(key).get_shape(), device="meta")
    return found


def _find_files(folder: Path) -> dict[str, str]:
    """Tensor → file. As in Transformers, the files' own headers count, and not what an index says is in them."""
    try:
        names = weight_files(folder)
    except FileError as error:
        raise CheckpointError(str(error)) from error
    found: dict[str, str] = {}
    for name in names:
        with _opened(folder / name) as file:
            found |= dict.fromkeys(file.keys(), name)
    return found


def _same_parameters(model: PreTrainedModel) -> Iterator[list[str]]:
    """The names of every parameter, tied ones together; the first is that of `named_parameters()`."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    yield from names.values()
