"""An MoE model, opened: load it, find its experts, read its routing, train a few of them. Knows nothing of tasks."""

from esft_lightning.profiling.contributions import MEASURES, ContributionTap
from esft_lightning.moe.described_products import described_products, experts_paths, waits_for_each_product
from esft_lightning.moe.discovery import MoELayer, NotAnMoEError, find_decoder, find_moe_layers, projection_names
from esft_lightning.moe.embedding_size import TokenizerError, check_embeddings
from esft_lightning.moe.fingerprint import config_hash, fingerprint_of_samples, model_fingerprint, sample_of
from esft_lightning.moe.grouped_routing import (
    GroupedRouting,
    GroupedRoutingError,
    grouped_routing,
    install_grouped_routing,
    remove_grouped_routing,
    routed_to_groups,
)
from esft_lightning.moe.identify import identify, trained_digest
from esft_lightning.moe.known_packing import known_packing
from esft_lightning.moe.loading import load_model, load_tokenizer
from esft_lightning.moe.low_rank_bank import LowRankBank, install_low_rank_banks, low_rank_shapes
from esft_lightning.moe.master_weights import (
    base_dtype,
    keep_masters,
    release_masters,
    trains_in_fp32,
)
from esft_lightning.moe.packed_samples import reads_packed_samples_apart
from esft_lightning.moe.placement import device_of, has_offloaded_weights, input_device, real_weights
from esft_lightning.moe.quantised_bank import experts_dtype, is_quantised, quantised
from esft_lightning.moe.recomputation import recompute_layers
from esft_lightning.moe.rounded_copies import copies_kept, copies_not_kept
from esft_lightning.moe.rounded_weight import QuantisationError, full_shape
from esft_lightning.moe.router_traits import RouterTraits, router_traits
from esft_lightning.moe.routing import Routing, RoutingTap
from esft_lightning.moe.two_bank import SYNC_FREE, ExpertBank, TrainedBank, banks, install_banks, remove_banks
from esft_lightning.moe.widened_arithmetic import widen_linears

__all__ = [
    "MEASURES",
    "SYNC_FREE",
    "ContributionTap",
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
    "TokenizerError",
    "TrainedBank",
    "banks",
    "base_dtype",
    "copies_kept",
    "copies_not_kept",
    "check_embeddings",
    "described_products",
    "device_of",
    "find_decoder",
    "find_moe_layers",
    "grouped_routing",
    "has_offloaded_weights",
    "input_device",
    "install_banks",
    "install_grouped_routing",
    "install_low_rank_banks",
    "keep_masters",
    "known_packing",
    "load_model",
    "load_tokenizer",
    "low_rank_shapes",
    "config_hash",
    "experts_dtype",
    "experts_paths",
    "fingerprint_of_samples",
    "full_shape",
    "is_quantised",
    "quantised",
    "identify",
    "trained_digest",
    "trains_in_fp32",
    "model_fingerprint",
    "projection_names",
    "real_weights",
    "recompute_layers",
    "sample_of",
    "reads_packed_samples_apart",
    "waits_for_each_product",
    "widen_linears",
    "release_masters",
    "remove_banks",
    "remove_grouped_routing",
    "routed_to_groups",
    "router_traits",
]
