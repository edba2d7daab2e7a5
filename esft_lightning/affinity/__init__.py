"""Which experts a task uses: affinity metric, profile, selection, routing logs, analyses. Nothing here trains.

Everything but `ExpertAffinity` works on numpy alone; names load on first use, so that reading a routing log or a
selection never waits for torch.
"""

from typing import TYPE_CHECKING

from esft_lightning.first_use import on_first_use

if TYPE_CHECKING:
    from esft_lightning.affinity.analysis import (
        chance_overlap,
        gate_concentration,
        overlap_matrix,
        routing_entropy,
        specific_mass,
        top_expert_overlap,
        top_mass,
    )
    from esft_lightning.affinity.grouping import (
        ExpertGrouping,
        co_occurrence,
        group_by_co_occurrence,
        select_groups,
        select_random_groups,
    )
    from esft_lightning.affinity.metric import ExpertAffinity
    from esft_lightning.affinity.profile import AffinityProfile
    from esft_lightning.affinity.routing_log import RoutingLog, read_routing_log
    from esft_lightning.affinity.scores import affinity_scores
    from esft_lightning.affinity.selection import ExpertSelection, select_random, select_top_k, select_top_p

_HOMES = {
    "ExpertAffinity": "metric",
    "AffinityProfile": "profile",
    "ExpertGrouping": "grouping",
    "co_occurrence": "grouping",
    "group_by_co_occurrence": "grouping",
    "select_groups": "grouping",
    "select_random_groups": "grouping",
    "ExpertSelection": "selection",
    "select_top_p": "selection",
    "select_top_k": "selection",
    "select_random": "selection",
    "RoutingLog": "routing_log",
    "read_routing_log": "routing_log",
    "affinity_scores": "scores",
    "gate_concentration": "analysis",
    "top_mass": "analysis",
    "top_expert_overlap": "analysis",
    "overlap_matrix": "analysis",
    "chance_overlap": "analysis",
    "routing_entropy": "analysis",
    "specific_mass": "analysis",
}

__all__ = [
    "AffinityProfile",
    "ExpertAffinity",
    "ExpertGrouping",
    "ExpertSelection",
    "RoutingLog",
    "affinity_scores",
    "chance_overlap",
    "co_occurrence",
    "gate_concentration",
    "group_by_co_occurrence",
    "overlap_matrix",
    "read_routing_log",
    "routing_entropy",
    "select_groups",
    "select_random",
    "select_random_groups",
    "select_top_k",
    "select_top_p",
    "specific_mass",
    "top_expert_overlap",
    "top_mass",
]
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
