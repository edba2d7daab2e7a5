"""What the routing experiments share: profiles of tasks under one model and its nulls, or from routing logs.

Two independent samples of every task are profiled, and on the way the profile after each power of two of tokens is
kept, so that one pass serves every figure. Profiles lie in a cache below the output folder; drawing again costs
nothing. Nothing here trains.

Two nulls stand beside an embedded or loaded model, since tasks that differ in their tokens look specialised under any
router: the *untrained model* (weights freshly drawn) and *routers drawn anew* (the trained model with random routers
of the same norm). Routing logs come without weights, so they have no null but chance.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from esft_lightning.affinity import AffinityProfile, RoutingLog
from esft_lightning.command_parser import CommandParser
from esft_lightning.comparison.environment import commit
from esft_lightning.errors import SettingError, UserError, explanation
from esft_lightning.identity import CODE, key_of
from esft_lightning.moe.base_digest import base_digest
from esft_lightning.publication import Section
from esft_lightning.tasks import TASKS
from experiments.settings import OUTPUTS, PRESETS, as_settings, load_preset
from experiments.show import show_section

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRAINED, REDRAWN, UNTRAINED = "trained", "routers drawn anew", "untrained model"
NULLS_AND_TRAINED = (TRAINED, REDRAWN, UNTRAINED)
LOGGED = "DeepSeek-V2-Lite (routing logs)"
LOGGED_EXPERTS, LOGGED_OFFSET = 64, 1  # of DeepSeek-V2-Lite, whose layer 0 is dense
SMALLEST = 2**9

Half = dict[str, dict[int, AffinityProfile]]
"""Task → tokens → the profile of the first so many tokens of this half."""


@dataclass(frozen=True)
class RoutingSettings:
    """What is profiled.

    Attributes:
        base: The model: `tiny`, a folder or a hub id.
        tasks: Task names.
        tokens: Tokens of each of the two samples of a task.
        model: Further arguments of `load_model`.
        data: Further arguments of the tasks' DataModules.
    """

    base: str
    tasks: Sequence[str]
    tokens: int
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ValueError: Fewer than two tasks, or fewer tokens than the smallest profile.
        """
        if len(self.tasks) < 2 or self.tokens < SMALLEST:
            raise SettingError(
                f"{len(self.tasks)} tasks and {self.tokens} tokens: expected at least 2 tasks and {SMALLEST} tokens"
            )


@dataclass(frozen=True)
class Measured:
    """The routing of one model on several tasks.

    Attributes:
        kind: `TRAINED`, one of the nulls, or `LOGGED`.
        base: The model that was loaded; empty for logs.
        halves: Two independent samples.
        whole_log: Of logs: the profiles of the first so many tokens of all samples; else empty.
    """

    kind: str
    base: str
    halves: tuple[Half, Half]
    whole_log: Half = field(default_factory=dict)

    @property
    def prefixes(self) -> Half:
        """Profiles of the first so many tokens of the largest sample that grows token by token."""
        return self.whole_log or self.halves[0]

    @property
    def model(self) -> str:
        """What figures call it: `tiny, trained`."""
        return f"{Path(self.base).name}, {self.kind}" if self.base else self.kind

    @property
    def is_null(self) -> bool:
        """Whether it is there for comparison alone."""
        return self.kind in (REDRAWN, UNTRAINED)

    @property
    def tasks(self) -> list[str]:
        """Task names, in their order."""
        return list(self.halves[0])

    def full(self, half: int) -> dict[str, AffinityProfile]:
        """Task → the profile of the whole half."""
        return {task: profiles[max(profiles)] for task, profiles in self.halves[half].items()}

    def whole(self) -> dict[str, AffinityProfile]:
        """Task → the profile of both halves together."""
        first, second = self.full(0), self.full(1)
        return {task: first[task].plus(second[task]) for task in first}

    @property
    def top_k(self) -> int:
        """K, experts per token."""
        return next(iter(self.full(0).values())).top_k

    @property
    def num_experts(self) -> int:
        """E, routed experts of a layer."""
        return next(iter(self.full(0).values())).num_experts

    @property
    def tokens(self) -> int:
        """Tokens of the smallest half."""
        return min(profile.tokens for half in (0, 1) for profile in self.full(half).values())


def parser(name: str, document: str | None) -> argparse.ArgumentParser:
    """The options of every routing experiment."""
    made = CommandParser(prog=f"python -m experiments.{name}", description=(document or "").split("\n")[0])
    made.add_argument("--preset", choices=PRESETS, default="tiny", help="settings to take (default: %(default)s)")
    made.add_argument("--base", help="another model: tiny, a folder, or a hub id")
    made.add_argument("--tasks", nargs="+", help="other tasks")
    made.add_argument("--tokens", type=int, help="tokens of each of a task's two samples")
    made.add_argument("--seed", type=int, default=0, help="seed of the nulls' weights (default: %(default)s)")
    made.add_argument(
        "--routing-logs", type=Path, metavar="DIR", help="also draw from the routing logs (TASK.npz) here"
    )
    made.add_argument("--output", type=Path, help=f"folder (default: {', '.join(map(str, OUTPUTS.values()))})")
    made.add_argument("--plan", action="store_true", help="say what would be profiled, and profile nothing")
    return made


def settings_of(name: str, options: argparse.Namespace) -> RoutingSettings:
    """The preset's settings, changed by the options.

    Raises:
        ValueError: Settings that cannot be.
    """
    values = load_preset(name, options.preset)
    given = {"base": options.base, "tasks": options.tasks, "tokens": options.tokens}
    values |= {key: value for key, value in given.items() if value is not None}
    return as_settings(RoutingSettings, values, f"configs/experiments/{name}.yaml, {options.preset}")


def gather(name: str, options: argparse.Namespace, console: Console) -> list[Measured] | None:
    """Profiles of the model and its nulls, and of the routing logs where they are given.

    Args:
        name: The experiment.
        options: As `parser` reads them.
        console: Where progress is shown.

    Returns:
        The trained model first, then its nulls, then the logs; None when only the plan was asked for.

    Raises:
        ValueError: Settings or logs that cannot be.
    """
    settings = settings_of(name, options)
    logged = read_logs(options.routing_logs) if options.routing_logs else None
    if options.plan:
        models = ", ".join((TRAINED, REDRAWN, UNTRAINED))
        console.print(
            f"{name}: {settings.base}; models: {models}; tasks: {', '.join(settings.tasks)}; "
            f"2 × {settings.tokens:,} tokens each" + ("" if logged is None else f"; logs of {', '.join(logged.tasks)}")
        )
        return None
    measured = measure_all(settings, options.output / "profiles", options.seed, console)
    return measured if logged is None else [*measured, logged]


def measure_all(settings: RoutingSettings, cache: Path, seed: int, console: Console) -> list[Measured]:
    """Profile the model and both nulls; what lies in the cache is not measured again.

    Args:
        settings: What to profile.
        cache: Folder of profiles.
        seed: Seed of the nulls' weights.
        console: Where progress is shown.
    """
    rows = lru_cache(maxsize=None)(partial(data_module, settings))
    models = loaders(settings, seed)
    return [
        Measured(name, settings.base, _halves(name, make, rows, settings, cache, seed, console))
        for name, make in models.items()
    ]


def loaders(settings: RoutingSettings, seed: int) -> dict[str, Callable[[], PreTrainedModel]]:
    """What loads the model and its nulls, by name; each is loaded once."""
    from esft_lightning.embedded import is_embedded
    from esft_lightning.moe import load_model

    arguments = {"dtype": "float32", **settings.model} if is_embedded(settings.base) else dict(settings.model)
    load = partial(load_model, settings.base, **arguments)
    models: dict[str, Callable[[], PreTrainedModel]] = {
        TRAINED: load,
        REDRAWN: lambda: redraw_routers(load(), seed),
        UNTRAINED: partial(load, random_weights=True, seed=seed),
    }
    return {name: lru_cache(maxsize=1)(make) for name, make in models.items()}


def _halves(
    name: str,
    make: Callable[[], PreTrainedModel],
    rows: Callable[[str], Any],
    settings: RoutingSettings,
    cache: Path,
    seed: int,
    console: Console,
) -> tuple[Half, Half]:
    halves: tuple[Half, Half] = ({}, {})
    model: PreTrainedModel | None = None
    for task in settings.tasks:
        stem = cache_stem(settings, name, seed, rows(task))
        for number, half in enumerate(halves):
            folder = cache / f"{stem}-{task}-{number}-{settings.tokens}"
            found = _read(folder)
            if found is None:
                with console.status(f"profiling {task}: {name}"):
                    model = model or make()
                    found = dict(_profiles(model, rows(task), number, settings.tokens))
                    for tokens, profile in found.items():
                        profile.save(folder / f"{tokens}.safetensors")
                    (folder / "complete").touch()
            half[task] = found
    return halves


def cache_stem(settings: RoutingSettings, kind: str, seed: int, data: Any) -> str:
    """How the names of kept measurements begin: which model, how it was loaded, and which rows it read in which way.

    Args:
        settings: What is profiled.
        kind: The trained model or one of its nulls.
        seed: Seed of the nulls' weights.
        data: The DataModule that is read.
    """
    key = key_of(
        {
            "base": base_digest(settings.base),
            "model": settings.model,
            "seed": None if kind == TRAINED else seed,
            "rows": data.data_fingerprint,
            "reading": data.reading,
            "code": CODE,
        }
    )
    return f"{kind.replace(' ', '_')}-{key}"


def _read(folder: Path) -> dict[int, AffinityProfile] | None:
    if not (folder / "complete").is_file():
        return None
    return {int(path.stem): AffinityProfile.load(path) for path in sorted(folder.glob("*.safetensors"))}


def data_module(settings: RoutingSettings, task: str) -> Any:
    """The DataModule whose rows are profiled, one row a batch."""
    from esft_lightning import tasks

    arguments = {"sequence_length": SMALLEST, "profile_sequences": None, "val_batch_size": 1, **settings.data}
    return getattr(tasks, f"{task.capitalize()}DataModule")(tokenizer=settings.base, **arguments)


def _profiles(model: PreTrainedModel, data: Any, half: int, most: int) -> Iterator[tuple[int, AffinityProfile]]:
    """The profile after every power of two of tokens up to `most`, as `(that number, profile)`."""
    from esft_lightning.profiling.measurement import measure_affinity

    batches = islice(iter(data.profile_dataloader()), half, None, 2)
    total: AffinityProfile | None = None
    target = SMALLEST
    while target <= most:
        if total is None:
            total = measure_affinity(model, batches, token_budget=target)
        elif total.tokens < target:
            total = total.plus(measure_affinity(model, batches, token_budget=target - total.tokens))
        yield target, total
        if total.tokens < target:
            return  # the task has no more rows
        target *= 2


def redraw_routers(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Give every router random weights of the norm that its own have; nothing else changes."""
    import torch

    from esft_lightning.strategies import group_parameters

    generator = torch.Generator().manual_seed(seed)
    groups = group_parameters(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if groups[name] == "router" and parameter.dim() == 2:
                drawn = torch.randn(parameter.shape, generator=generator) * parameter.float().std().cpu()
                parameter.copy_(drawn)
    return model


def read_logs(folder: Path) -> Measured:
    """Routing logs of DeepSeek-V2-Lite, `TASK.npz` each, split into even and odd samples.

    Args:
        folder: Folder of the logs, or one that has them in `routing/` or `esft/routing/`.

    Raises:
        ValueError: There are fewer than two, or one cannot be read; the folder or file is named.
    """
    even, odd, whole = {}, {}, {}
    for task, log in load_logs(folder).items():
        try:
            even[task], odd[task], whole[task] = (
                dict(_logged_profiles(log, samples)) for samples in (slice(0, None, 2), slice(1, None, 2), slice(None))
            )
        except ValueError as error:
            raise SettingError(f"{folder}, {task}.npz: {error}") from error
    return Measured(LOGGED, "", (even, odd), whole)


def load_logs(folder: Path) -> dict[str, RoutingLog]:
    """Task → its log, in the paper's order of tasks.

    Raises:
        ValueError: There are fewer than two, or one cannot be read; the folder or file is named.
    """
    places = [folder, folder / "routing", folder / "esft" / "routing"]
    files = next((found for place in places if (found := sorted(place.glob("*.npz")))), [])
    if len(files) < 2:
        raise SettingError(f"{folder}: {len(files)} routing logs; expected TASK.npz files of at least two tasks")
    order = {task: place for place, task in enumerate(TASKS)}
    files.sort(key=lambda path: (order.get(path.stem, len(order)), path.stem))
    return {path.stem: RoutingLog.load(path) for path in files}


def _logged_profiles(log: RoutingLog, chosen: slice) -> Iterator[tuple[int, AffinityProfile]]:
    """As `_profiles`, by whole samples of those chosen; the last entry is all of them."""
    start, step = chosen.start or 0, chosen.step or 1
    lengths = log.sample_lengths[chosen].cumsum()
    target = SMALLEST
    while target < lengths[-1]:
        samples = int((lengths < target).sum()) + 1
        yield target, _logged(log, slice(start, start + step * samples, step))
        target *= 2
    yield int(lengths[-1]), _logged(log, chosen)


def _logged(log: RoutingLog, samples: slice) -> AffinityProfile:
    return log.profile(layer_offset=LOGGED_OFFSET, num_experts=LOGGED_EXPERTS, samples=samples)


def provenance(measured: Sequence[Measured]) -> str:
    """One line: commit, and how many tokens were read."""
    tokens = ", ".join(f"{entry.model}: {entry.tokens:,}" for entry in measured)
    return f"commit {commit() or 'unknown'}; tokens of the smallest sample: {tokens}"


def run(
    name: str,
    document: str | None,
    section_of: Callable[[Any, str], Section],
    arguments: Sequence[str] | None,
    prepare: Callable[[list[Measured], argparse.Namespace, Console], Any] | None = None,
) -> int:
    """The life of a routing experiment: options, profiles, section, tables on the terminal.

    Args:
        name: The experiment.
        document: Its docstring.
        section_of: Makes its section from what was measured, or from what `prepare` made of it, and the command.
        arguments: Command-line arguments; None takes the process's own.
        prepare: What else is to be measured.

    Returns:
        0 when done, 2 for settings that cannot be.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(name, document).parse_args(given)
    options.output = options.output or OUTPUTS[options.preset]
    console = Console()
    # a sweep of p goes beyond what gates sum to on purpose
    logging.getLogger("esft_lightning.affinity.selection").setLevel(logging.ERROR)
    try:
        measured = gather(name, options, console)
        if measured is None:
            return 0
        found = prepare(measured, options, console) if prepare else measured
        section = section_of(found, shlex.join(["python", "-m", f"experiments.{name}", *given]))
    except (UserError, OSError) as error:
        print(f"error: {explanation(error)}", file=sys.stderr)
        return 2
    show_section(section, options.output / name, console)
    return 0
