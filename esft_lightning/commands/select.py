"""The verb `select`: a routing log or an affinity profile → an expert selection, as the official `expert_cfg.json`.

It knows numpy and files, no model; torch is never imported, so that it answers at once.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.affinity.routing_log import read_routing_log
from esft_lightning.affinity.scores import MEASURED
from esft_lightning.affinity.selection import ExpertSelection, select_random, select_top_k, select_top_p
from esft_lightning.errors import SettingError

DESCRIPTION = "Select the experts to train from a routing log or an affinity profile; write expert_cfg.json."
EPILOG = """\
The selection of the paper's law task, from its released log:
  python -m esft_lightning select --routing-log law.npz --score token --top-p 0.2 --round 4 --layer-offset 1 \\
      --output expert_cfg.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--routing-log",
        metavar="FILE.npz",
        type=Path,
        help="recorded routing: arrays expert_ids [layers, tokens, top_k], gate_weights (same), sample_lengths",
    )
    source.add_argument("--profile", metavar="FILE", type=Path, help="affinity profile written by `profile` or `fit`")
    rule = parser.add_mutually_exclusive_group(required=True)
    rule.add_argument(
        "--top-p",
        metavar="P",
        type=float,
        help="per layer the fewest experts whose scores sum to at least P (paper: token 0.2, gate 0.1)",
    )
    rule.add_argument("--top-k", metavar="K", type=int, help="the K experts of highest score in every layer")
    rule.add_argument(
        "--random-like",
        metavar="CFG",
        type=Path,
        help="as many random experts per layer as this expert_cfg.json has; see --seed",
    )
    parser.add_argument(
        "--score",
        choices=("token", "gate", *MEASURED),
        help="token selection ratio (eq. 7), average gate (eq. 6), or a score that the profile measured besides",
    )
    parser.add_argument(
        "--average",
        choices=("token", "sample"),
        default="token",
        help="each token counts once (as released), or samples are averaged first (as in the equations); "
        "default: %(default)s",
    )
    parser.add_argument(
        "--normalize", action="store_true", help="divide a layer's scores by their sum: P is then a share of its mass"
    )
    parser.add_argument(
        "--round", metavar="N", type=int, help="round scores to N decimals first (4 reproduces the released configs)"
    )
    parser.add_argument(
        "--layer-offset",
        metavar="N",
        type=int,
        default=0,
        help="decoder layer number of the log's first row; the published logs need 1 (default: 0)",
    )
    parser.add_argument(
        "--num-experts", metavar="E", type=int, help="experts per layer of the log (default: its highest id plus one)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of --random-like (default: 0)")
    parser.add_argument("--shared-experts", action="store_true", help="mark the shared experts as trained")
    parser.add_argument(
        "--non-expert-modules", action="store_true", help="mark everything that is not an expert as trained"
    )
    parser.add_argument("--output", metavar="OUT.json", type=Path, help="where to write; without it only the table")


def run(args: argparse.Namespace) -> int:
    """Carry out `select`.

    Raises:
        UserError: For options that cannot be, and files that cannot be read.
    """
    if args.score is None and args.random_like is None:
        raise SettingError("--score is missing: say --score token or --score gate")
    profile = _read(args)
    selection = _random_selection(profile, args) if args.random_like is not None else _selection(profile, args)
    selection = replace(
        selection,
        shared_experts=args.shared_experts or selection.shared_experts,
        non_expert_modules=args.non_expert_modules or selection.non_expert_modules,
    )
    if args.output is not None:
        selection.save(args.output)
    _print_table(profile, selection, args)
    return 0


def _read(args: argparse.Namespace) -> AffinityProfile:
    if args.routing_log is not None:
        if args.layer_offset < 0:
            raise SettingError(f"--layer-offset {args.layer_offset} is below 0; layers are numbered from 0")
        return read_routing_log(args.routing_log, layer_offset=args.layer_offset, num_experts=args.num_experts)
    if args.layer_offset or args.num_experts is not None:
        raise SettingError(
            "--layer-offset and --num-experts describe a routing log; a profile knows its own: drop them"
        )
    return AffinityProfile.load(args.profile)


def _selection(profile: AffinityProfile, args: argparse.Namespace) -> ExpertSelection:
    scores = profile.scores(args.score, average=args.average, normalize=args.normalize)
    if args.round is not None:
        if args.round < 0:
            raise SettingError(f"--round {args.round} is below 0; expected a number of decimals")
        scores = np.round(scores, args.round)
    if args.top_k is not None:
        return select_top_k(scores, profile.layers, args.top_k)
    warning = profile.raw_p_warning(args.score, args.normalize)
    if warning:
        print(f"select: warning: {warning}", file=sys.stderr)
    return select_top_p(scores, profile.layers, args.top_p)


def _random_selection(profile: AffinityProfile, args: argparse.Namespace) -> ExpertSelection:
    like = ExpertSelection.load(args.random_like)
    try:
        like.check_fits(profile.layers, profile.num_experts)
    except ValueError as error:
        raise SettingError(f"{args.random_like}: {error}; is --layer-offset right?") from error
    return select_random(like, profile.num_experts, args.seed)


def _print_table(profile: AffinityProfile, selection: ExpertSelection, args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    # A selection is judged by what it covers, whatever it was selected by: both shares, unrounded.
    shares = {score: profile.scores(score, average=args.average, normalize=True) for score in ("token", "gate")}
    table = Table(
        title=f"{profile.tokens:,} tokens in {profile.samples:,} samples; "
        f"{profile.num_experts} experts a layer, {profile.top_k} chosen per token",
        caption="choices, gates: the selected experts' share of what the layer's tokens chose and of their gates",
    )
    table.add_column("layer", justify="right")
    for heading in ("experts", "choices", "gates"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ids, as selected")
    row = {layer: number for number, layer in enumerate(profile.layers)}
    covered = {score: [] for score in shares}
    for layer, ids in selection.experts.items():
        for score, share in shares.items():
            covered[score].append(share[row[layer], ids].sum())
        mark = "*" if layer in selection.unreached else ""
        cells = [f"{covered[score][-1]:.1%}" for score in shares]
        table.add_row(str(layer), f"{len(ids)}{mark}", *cells, _shortened(ids))
    table.add_section()
    means = [f"{np.mean(values):.1%}" if values else "–" for values in covered.values()]
    table.add_row("mean", f"{selection.mean_per_layer:.2f}", *means, f"{selection.total} experts")
    console = Console()
    console.print(table)
    if selection.unreached:
        console.print(f"* the scores sum to less than {args.top_p:g}: all experts selected")
    if args.output is not None:
        console.print(f"written: {args.output}", soft_wrap=True, highlight=False, markup=False)


def _shortened(ids: list[int], shown: int = 8) -> str:
    more = f" … +{len(ids) - shown}" if len(ids) > shown else ""
    return " ".join(map(str, ids[:shown])) + more
