"""The authors' layout of a trained model: what `deepseek-ai/ESFT` writes and loads, for every family.

A folder of `expert_cfg.json` and safetensors. Routed experts stand one by one under
`model.layers.{i}.mlp.experts.{e}.{gate,up,down}_proj.{weight,bias}`, `[out, in]`, whatever the family calls its modules
and however it keeps them; what a family does not have (gates, biases) is left out. Shared experts and all that is no
expert have the names of the model's own parameters. `expert_cfg.json` names every MoE layer, and each of its three
parts is there whole or not at all: the authors' loader insists on both.

The first releases wrote the keys of the decoder alone (`layers.…`, and no head); they are read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from esft_lightning.adapters import EXPERTS_FILE, AdapterError, check_shapes, split_projection, write_adapter
from esft_lightning.adapters.formats.adapter_values import AdapterValues
from esft_lightning.adapters.provenance import provenance, recorded_config_hash
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import MoELayer, config_hash, find_moe_layers, projection_names
from esft_lightning.moe.base_checkpoint import BaseCheckpoint, base_folder, skeleton
from esft_lightning.storage import whole_folder
from esft_lightning.strategies.groups import group_parameters

_EXPERT = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.")


def export_adapter(
    adapter: str | Path,
    output: str | Path,
    *,
    base: str | Path | None = None,
    force: bool = False,
    revision: str | None = None,
) -> Path:
    """Write an adapter as the authors' code loads it.

    Args:
        adapter: The adapter folder: ESFT in any variant, frozen experts, or full fine-tuning.
        output: Folder to write; it must not be there yet, and appears whole or not at all.
        base: The base, of which the configuration alone is read; None takes the name that the adapter records.
        force: Export even if the base's configuration is not the recorded one, as long as every shape fits.
        revision: Hub revision of the base.

    Returns:
        The folder.

    Raises:
        AdapterError: If the adapter does not fit the base, or holds what the layout has no place for.
        FileExistsError: If the output is there already.
    """
    from esft_lightning.adapters import read_adapter_config

    config = read_adapter_config(Path(adapter))
    model = skeleton(config["base"] if base is None else base, revision)
    recorded, here = recorded_config_hash(config), config_hash(model.config)
    if not force and recorded not in (None, here):
        raise AdapterError(
            f"{adapter} was trained on {config['base']}, whose configuration has hash {recorded}; that of "
            f"{base or config['base']} has {here}: name the right base, or force it (force=True, --force)"
        )
    values = AdapterValues(adapter, model)
    if config["lora"] is not None or config.get("expert_lora") is not None:
        raise AdapterError(
            f"{adapter} holds low-rank factors ({config['strategy']}), which the authors' layout has no place for; "
            "merge it into its base: python -m esft_lightning merge"
        )
    tensors = dict(_official_tensors(model, values))
    selection = _official_selection(model, values, set(tensors))
    _check_official(
        Path(adapter), {key: tuple(t.shape) for key, t in tensors.items()}, official_shapes(model, selection)
    )
    origin = {"format": "pt", "base": str(config["base"]), "base_fingerprint": config["base_fingerprint"]}
    with whole_folder(output) as folder:
        selection.save(folder / EXPERTS_FILE)
        save_file(tensors, folder / "model.safetensors", metadata=origin)
    return Path(output)


def import_adapter(
    source: str | Path,
    output: str | Path,
    *,
    base: str | Path,
    force: bool = False,
    revision: str | None = None,
) -> Path:
    """Read a folder in the authors' layout, of now or of the first releases, and write an adapter folder.

    Args:
        source: Folder with `expert_cfg.json` and safetensors files.
        output: The adapter folder to write; it must not be there yet.
        base: The base that it belongs to; its weights are read once, for their fingerprint.
        force: Import even if the file names another base, as long as every shape fits.
        revision: Hub revision of the base.

    Returns:
        The adapter folder.

    Raises:
        AdapterError: If a key is missing, unexpected or misshapen, or the folder belongs to another base.
        CheckpointError: If the base's weights cannot be read.
        FileExistsError: If the output is there already.
    """
    if Path(output).exists():
        raise FileExistsError(f"{output} is there already; name another output, or remove it first")
    source, checkpoint = Path(source), BaseCheckpoint(base_folder(base, revision))
    model = checkpoint.model
    selection = ExpertSelection.load(source / EXPERTS_FILE)
    layers = {entry.layer: entry for entry in find_moe_layers(model)}
    try:
        selection.check_fits(list(layers), next(iter(layers.values())).num_experts)
    except ValueError as error:
        raise AdapterError(f"{source / EXPERTS_FILE}: {error}") from error
    stored, origin = _read_folder(source)
    stored, old = _from_old_layout(model, stored)
    expected = official_shapes(model, selection)
    if old and selection.non_expert_modules:
        expected = {key: shape for key, shape in expected.items() if key in stored or key not in _head(model)}
    _check_official(source, {key: tuple(value.shape) for key, value in stored.items()}, expected, selection)
    fingerprint = checkpoint.fingerprint()
    if not force and origin.get("base_fingerprint", fingerprint) != fingerprint:
        raise AdapterError(
            f"{source} belongs to {origin.get('base')} (fingerprint {origin['base_fingerprint']}), {base} has "
            f"fingerprint {fingerprint}; name its base, or force it (force=True, --force)"
        )
    config: dict[str, Any] = {
        "format": 1,
        "strategy": "ESFT",
        "base": str(base),
        "base_fingerprint": fingerprint,
        "lora": None,
        "expert_lora": None,
        "dtype": str(next(iter(stored.values())).dtype).removeprefix("torch."),
        "provenance": provenance(model, base=str(base), base_fingerprint=fingerprint, selection=selection),
    }
    tensors = {_own_name(layers, key): value.contiguous() for key, value in stored.items()}
    return write_adapter(output, tensors, config, selection)


def official_shapes(model: PreTrainedModel, selection: ExpertSelection) -> dict[str, tuple[int, ...]]:
    """Every key that a folder in the authors' layout must hold, with its shape.

    Args:
        model: The bare base; the meta device is enough.
        selection: Which experts and parts are trained.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for entry in find_moe_layers(model):
        for projection in projection_names(entry.experts):
            rows = entry.experts.get_parameter(projection)[0]
            for part, view in split_projection(entry, projection, rows):
                for expert in selection.experts.get(entry.layer, ()):
                    shapes[_official_name(entry, expert, part)] = tuple(view.shape)
    groups = group_parameters(model)
    for name, parameter in model.named_parameters():
        if groups[name] == "shared experts":
            wanted = selection.shared_experts
        else:
            wanted = selection.non_expert_modules and groups[name] != "routed experts"
        if wanted:
            shapes[name] = tuple(parameter.shape)
    return shapes


def _official_name(entry: MoELayer, expert: int, part: str) -> str:
    return f"model.layers.{entry.layer}.mlp.experts.{expert}.{part}"


def _own_name(layers: Mapping[int, MoELayer], key: str) -> str:
    """An official key as the adapter file has it: routed experts under the name of the model's experts module."""
    if (match := _EXPERT.match(key)) is None:
        return key
    return f"{layers[int(match[1])].name}.{match[2]}.{key[match.end() :]}"


def _official_tensors(model: PreTrainedModel, values: AdapterValues) -> Iterator[tuple[str, Tensor]]:
    """Everything that an adapter file holds, under its official name; fused experts (full fine-tuning) come apart."""
    fused = {}
    prefixes = {}
    for entry in find_moe_layers(model):
        prefixes[entry.name] = entry
        fused |= {f"{entry.name}.{projection}": (entry, projection) for projection in projection_names(entry.experts)}
    for name in values.shapes:
        if name in fused:
            entry, projection = fused[name]
            for expert, rows in enumerate(values.tensor(name)):
                for part, view in split_projection(entry, projection, rows):
                    yield _official_name(entry, expert, part), view.contiguous().clone()
            continue
        owner, _, part = name.rpartition(".experts.")
        entry = prefixes.get(f"{owner}.experts")
        if entry is not None and (expert := part.partition(".")[0]).isdigit():
            yield _official_name(entry, int(expert), part.partition(".")[2]), values.tensor(name)
        else:
            yield name, values.tensor(name)


def _official_selection(model: PreTrainedModel, values: AdapterValues, keys: set[str]) -> ExpertSelection:
    """The selection, with every MoE layer named; read off the keys where the strategy selected none."""
    layers = find_moe_layers(model)
    experts: dict[int, list[int]] = {entry.layer: [] for entry in layers}
    if values.selection is not None:
        experts |= values.selection.experts
    else:
        for key in keys:
            if (match := _EXPERT.match(key)) is not None and int(match[2]) not in experts[int(match[1])]:
                experts[int(match[1])].append(int(match[2]))
        experts = {layer: sorted(ids) for layer, ids in experts.items()}
    groups = group_parameters(model)
    parts = {groups[key] for key in keys if key in groups}
    return ExpertSelection(
        experts,
        shared_experts="shared experts" in parts,
        non_expert_modules=bool(parts - {"shared experts", "routed experts"}),
    )


def _check_official(
    source: Path,
    stored: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    selection: ExpertSelection | None = None,
) -> None:
    """Refuse missing, unexpected and misshapen keys; say of an unselected expert that it is one."""
    for key in sorted(set(stored) - set(expected)):
        match = _EXPERT.match(key)
        if selection is not None and match is not None:
            layer, expert = int(match[1]), int(match[2])
            if expert not in selection.experts.get(layer, ()):
                raise AdapterError(
                    f"{source}: '{key}' is of expert {expert}, which {EXPERTS_FILE} does not select in layer {layer}"
                )
    check_shapes(source, stored, expected)


def _read_folder(source: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a folder's safetensors files, and what their headers say."""
    stored: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    paths = sorted(source.glob("*.safetensors"))
    if not paths:
        raise AdapterError(f"{source} holds no .safetensors file; expected an adapter in the authors' layout")
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                origin |= file.metadata() or {}
                for key in file.keys():  # noqa: SIM118 (a file handle, not a dict)
                    if key in stored:
                        raise AdapterError(f"{path}: '{key}' stands in another file of {source} too")
                    stored[key] = file.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise AdapterError(f"{path} cannot be read: {error}") from error
    return stored, origin


def _from_old_layout(model: PreTrainedModel, stored: dict[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Keys of the decoder alone (`layers.…`) get the `model.` that they lack; also whether they lacked it."""
    if not any(key.startswith("layers.") for key in stored):
        return stored, False
    own, prefix = {name for name, _ in model.named_parameters()}, model.base_model_prefix

    def whole(key: str) -> str:
        if _EXPERT.match(f"model.{key}"):
            return f"model.{key}"
        return key if key in own else f"{prefix}.{key}"

    return {whole(key): value for key, value in stored.items()}, True


def _head(model: PreTrainedModel) -> set[str]:
    """Names of the output head's own parameters, which a decoder alone does not have."""
    groups = group_parameters(model)
    return {name for name, group in groups.items() if group == "head"}
