"""Commands without Lightning: no abbreviations, and one line with the nearest right name instead of the whole usage."""

import importlib

import pytest

from esft_lightning import __main__ as entry
from esft_lightning.command_parser import CommandParser
from esft_lightning.nearest import nearest, unknown


@pytest.mark.parametrize(
    ("wrong", "right", "near"),
    [
        ("law", ["MathDataModule", "LawDataModule"], "LawDataModule"),
        ("esft_gate", ["ESFTToken", "ESFTGate"], "ESFTGate"),
        ("ddpp", ["auto", "ddp", "fsdp"], "ddp"),
        ("--tas", ["--tasks", "--seeds"], "--tasks"),
        ("tokn", ["gate", "token"], "token"),
        ("nothing like it", ["gate", "token"], None),
        ("x", [], None),
    ],
)
def test_the_nearest_name(wrong: str, right: list[str], near: str | None) -> None:
    assert nearest(wrong, right) == near
    assert all(name in unknown("name", wrong, right) for name in right)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "--tas", "math"], "there is no option --tas; did you mean '--tasks'?"),
        (["compare", "--task=math"], "there is no option --task; did you mean '--tasks'?"),
        (
            ["score", "--task", "lew", "--completions", "x"],
            "--task: unknown value 'lew'; did you mean 'law'? Expected one",
        ),
        (
            ["select", "--score", "tokn", "--top-p", "1", "--profile", "x"],
            "--score: unknown value 'tokn'; did you mean",
        ),
        (
            ["select", "--prof", "x", "--score", "gate", "--top-p", "1"],
            "there is no option --prof; did you mean '--profile'",
        ),
        (["select", "--score", "gate", "--top-p", "1"], "one of the arguments --routing-log --profile"),
        (
            ["budget", "--model", "tiny", "--kernels", "gpu"],
            "--kernels: unknown value 'gpu'; did you mean 'cpu'? Expected one of cuda, cpu",
        ),
        (["merge", "--adapter", "x"], "the following arguments are required: --output"),
        (["merge", "--adapter", "x", "--output", "y", "--max-shard-size", "5TB"], "--max-shard-size: '5TB' is no size"),
        (["report"], "the following arguments are required: DIR"),
        (["export", "--adapter", "x", "--output", "y", "z"], "'z' belongs to no option"),
    ],
)
def test_a_wrong_option_is_one_line_and_where_the_help_is(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        entry.main(arguments)
    assert left.value.code == 2
    first, second, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {said}") and not rest
    assert second == f"see python -m esft_lightning {arguments[0]} --help"


def test_a_wrong_verb_is_said_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["fitt"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: there is no verb 'fitt'; did you mean 'fit'?",
        "see python -m esft_lightning --help",
    ]


@pytest.mark.parametrize(
    "name", ["experiments.fronts", "experiments.routing_concentration", "experiments.paper", "benchmarks"]
)
def test_commands_beside_the_library_take_no_abbreviations_either(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("benchmarks.__main__" if name == "benchmarks" else name)
    with pytest.raises(SystemExit) as left:
        module.main(["--outpu", "x"])
    assert left.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: there is no option --outpu; did you mean '--output'?",
        f"see python -m {name} --help",
    ]


def test_whole_options_are_taken_as_ever() -> None:
    parser = CommandParser(prog="x")
    parser.add_argument("--output", "-o")
    assert parser.parse_args(["--output=a"]).output == parser.parse_args(["-oa"]).output == "a"
