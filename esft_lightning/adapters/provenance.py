"""Where an adapter comes from: its base, its experts, the profile and the data that chose them, the versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from esft_lightning.affinity import AffinityProfile, ExpertSelection
from esft_lightning.moe import config_hash
from esft_lightning.versions import versions_of

_PACKAGES = ("torch", "transformers", "lightning", "peft", "safetensors")


def provenance(
    model: PreTrainedModel,
    *,
    base: str,
    base_fingerprint: str,
    selection: ExpertSelection | None = None,
    profile: AffinityProfile | Mapping[str, Any] | None = None,
    data_fingerprint: str | None = None,
) -> dict[str, Any]:
    """What an adapter's `adapter_config.json` says of its origin.

    Args:
        model: The base, adapted or not; its configuration is read.
        base: Name or path of the base.
        base_fingerprint: `model_fingerprint` of the base before training.
        selection: The trained experts.
        profile: The affinity profile that they were selected from, or its `profile_record`.
        data_fingerprint: Fingerprint of the training rows; None takes the profile's.

    Returns:
        A JSON value; what is not known is null.
    """
    record = profile_record(profile) if isinstance(profile, AffinityProfile) else profile
    return {
        "base": {"name": str(base), "config_hash": config_hash(model.config), "weight_fingerprint": base_fingerprint},
        "selection": None if selection is None else {"hash": selection_hash(selection), "experts": selection.total},
        "profile": None if record is None else dict(record),
        "data_fingerprint": data_fingerprint or (record or {}).get("data_fingerprint"),
        "versions": versions_of(_PACKAGES),
    }


def profile_record(profile: AffinityProfile) -> dict[str, Any]:
    """What an adapter, and a run's checkpoint, say of a profile: its hash, its tokens, and what it was made from."""
    return {"hash": profile.digest(), "tokens": profile.tokens, **profile.metadata}


def selection_hash(selection: ExpertSelection) -> str:
    """Digest of which experts and parts are selected; the order in which they were does not count."""
    document = {
        "experts": {str(layer): sorted(ids) for layer, ids in sorted(selection.experts.items()) if ids},
        "shared_experts": selection.shared_experts,
        "non_expert_modules": selection.non_expert_modules,
    }
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


def base_difference(config: Mapping[str, Any], *, fingerprint: str, config_digest: str) -> str | None:
    """Why a base is not the one that an adapter was trained on, as a sentence; None where it is.

    Args:
        config: The adapter's `adapter_config.json`.
        fingerprint: `model_fingerprint` of the base at hand.
        config_digest: `config_hash` of the base at hand.
    """
    if fingerprint == config["base_fingerprint"]:
        return None
    recorded = recorded_config_hash(config)
    if recorded is None:
        which = "weights or configuration differ"
    elif recorded != config_digest:
        which = "the configurations differ"
    else:
        which = "the configurations agree, the weights differ"
    return (
        f"was trained on {config['base']} (fingerprint {config['base_fingerprint']}), this model has fingerprint "
        f"{fingerprint}: {which}"
    )


def recorded_config_hash(config: Mapping[str, Any]) -> str | None:
    """The hash of the base's configuration in an adapter's `adapter_config.json`; None in older ones."""
    return ((config.get("provenance") or {}).get("base") or {}).get("config_hash")
