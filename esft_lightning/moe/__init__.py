"""An MoE model, opened: load it, find its experts, read its routing, train a few of them. Knows nothing of tasks."""

from typing import TYPE_CHECKING

from esft_lightning.first_use import on_first_use

if TYPE_CHECKING:
    from esft_lightning.moe.described_products import experts_paths, waits_for_each_product
    from esft_lightning.moe.discovery import MoELayer, NotAnMoEError, find_decoder, find_moe_layers, projection_names
    from esft_lightning.moe.embedding_size import TokenizerError, check_embeddings
    from esft_lightning.moe.fingerprint import config_hash, fingerprint_of_samples, model_fingerprint, sample_of
    from esft_lightning.moe.grouped_routing import (
        GroupedRouting,
        GroupedRoutingError,
        install_grouped_routing,
        remove_grouped_routing,
        routed_to_groups,
    )
    from esft_lightning.moe.identify import trained_digest
    from esft_lightning.moe.loading import load_model, load_tokenizer
    from esft_lightning.moe.low_rank_bank import LowRankBank, install_low_rank_banks, low_rank_shapes
    from esft_lightning.moe.master_weights import base_dtype, keep_masters, release_masters, trains_in_fp32
    from esft_lightning.moe.packed_samples import reads_packed_samples_apart
    from esft_lightning.moe.placement import device_of, has_offloaded_weights, input_device, real_weights
    from esft_lightning.moe.quantised_bank import experts_dtype, is_quantised, quantised
    from esft_lightning.moe.recomputation import recompute_layers
    from esft_lightning.moe.rounded_copies import copies_kept, copies_not_kept
    from esft_lightning.moe.rounded_weight import QuantisationError, full_shape
    from esft_lightning.moe.router_traits import RouterTraits
    from esft_lightning.moe.routing import Routing, RoutingTap
    from esft_lightning.moe.two_bank import SYNC_FREE, ExpertBank, TrainedBank, banks, install_banks, remove_banks
    from esft_lightning.moe.widened_arithmetic import widen_linears

_HOMES = {
    "experts_paths": "described_products",
    "waits_for_each_product": "described_products",
    "MoELayer": "discovery",
    "NotAnMoEError": "discovery",
    "find_decoder": "discovery",
    "find_moe_layers": "discovery",
    "projection_names": "discovery",
    "TokenizerError": "embedding_size",
    "check_embeddings": "embedding_size",
    "config_hash": "fingerprint",
    "fingerprint_of_samples": "fingerprint",
    "model_fingerprint": "fingerprint",
    "sample_of": "fingerprint",
    "GroupedRouting": "grouped_routing",
    "GroupedRoutingError": "grouped_routing",
    "install_grouped_routing": "grouped_routing",
    "remove_grouped_routing": "grouped_routing",
    "routed_to_groups": "grouped_routing",
    "trained_digest": "identify",
    "load_model": "loading",
    "load_tokenizer": "loading",
    "LowRankBank": "low_rank_bank",
    "install_low_rank_banks": "low_rank_bank",
    "low_rank_shapes": "low_rank_bank",
    "base_dtype": "master_weights",
    "keep_masters": "master_weights",
    "release_masters": "master_weights",
    "trains_in_fp32": "master_weights",
    "reads_packed_samples_apart": "packed_samples",
    "device_of": "placement",
    "has_offloaded_weights": "placement",
    "input_device": "placement",
    "real_weights": "placement",
    "experts_dtype": "quantised_bank",
    "is_quantised": "quantised_bank",
    "quantised": "quantised_bank",
    "recompute_layers": "recomputation",
    "copies_kept": "rounded_copies",
    "copies_not_kept": "rounded_copies",
    "QuantisationError": "rounded_weight",
    "full_shape": "rounded_weight",
    "RouterTraits": "router_traits",
    "Routing": "routing",
    "RoutingTap": "routing",
    "SYNC_FREE": "two_bank",
    "ExpertBank": "two_bank",
    "TrainedBank": "two_bank",
    "banks": "two_bank",
    "install_banks": "two_bank",
    "remove_banks": "two_bank",
    "widen_linears": "widened_arithmetic",
}
__all__ = [
    "ExpertBank",
    "GroupedRouting",
    "GroupedRoutingError",
    "LowRankBank",
    "MoELayer",
    "NotAnMoEError",
    "QuantisationError",
    "RouterTraits",
    "Routing",
    "RoutingTap",
    "SYNC_FREE",
    "TokenizerError",
    "TrainedBank",
    "banks",
    "base_dtype",
    "check_embeddings",
    "config_hash",
    "copies_kept",
    "copies_not_kept",
    "device_of",
    "experts_dtype",
    "experts_paths",
    "find_decoder",
    "find_moe_layers",
    "fingerprint_of_samples",
    "full_shape",
    "has_offloaded_weights",
    "input_device",
    "install_banks",
    "install_grouped_routing",
    "install_low_rank_banks",
    "is_quantised",
    "keep_masters",
    "load_model",
    "load_tokenizer",
    "low_rank_shapes",
    "model_fingerprint",
    "projection_names",
    "quantised",
    "reads_packed_samples_apart",
    "real_weights",
    "recompute_layers",
    "release_masters",
    "remove_banks",
    "remove_grouped_routing",
    "routed_to_groups",
    "sample_of",
    "trained_digest",
    "trains_in_fp32",
    "waits_for_each_product",
    "widen_linears",
]
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
