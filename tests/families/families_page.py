"""Write docs/families.md from what the conformance checks see: `make families`."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from conformance import CHECKS, result
from tiny_families import FAMILIES, REFUSED, TEXT_MODELS, skeleton

from esft_lightning.moe import NotAnMoEError, find_moe_layers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "families.md"

_COLUMNS = ("family", "layout", "gates", "tap", "two banks", "frozen", "adapter", "LoRA", "packed samples", "notes")


def render() -> str:
    """The page, from the results of every check on every family."""
    rows = [_row(family) for family in FAMILIES]
    lines = [
        _HEAD.format(version=transformers.__version__, families=len(FAMILIES)),
        "| " + " | ".join(_COLUMNS) + " |",
        "|" + "---|" * len(_COLUMNS),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        "The text models inside multimodal families are tested under their own names: "
        + ", ".join(f"{whole} as `{text}`" for whole, text in TEXT_MODELS.items())
        + ".",
        "",
        "## Refused",
        "",
        "| family | reason |",
        "|---|---|",
        *(f"| `{family}` | {_reason(family)} |" for family in REFUSED),
        "",
    ]
    return "\n".join(lines)


_HEAD = """\
# Families

Every family whose experts go through the experts interface of Transformers {version}, each on a tiny random model. No
family is named in the library: layouts are told by the flags on the experts module. Made by `make families` from the
results of `tests/families`, which run with `make test`.

{families} families pass every check:

- **tap**: the recorded experts and gates are the router's own output, bit for bit.
- **two banks**: the logits of a model with trained experts are those of a stock model with the same weights, and the
  gradients of the trained experts are full autograd's, both to 1e-5 in fp32.
- **frozen**: weights that are not trained are bit-identical after AdamW steps with decay; every strategy applies and
  reports what it trains (full fine-tuning, frozen experts, ESFT by either score, random experts, shared experts where
  there are any, LoRA on relevant experts).
- **adapter**: saved and loaded, merged into a plain folder and loaded, sent through the authors' layout and back: the
  same logits (merged: to 1e-5).
- **LoRA**: reaches every routed expert, and its adapter loads to the same logits, to 1e-5.
- **gates**: how the router makes them, as a profile records it. Where they are renormalised or scaled, a raw threshold
  p on the gate score does not mean what it means in the paper: use `--normalize`.
- **packed samples**: `apart`: with `cross_sample_attention: false` the samples of one row are read as if each stood
  alone. `cross`: attention, recurrent state or a convolution goes on into the next sample of the row all the same;
  `fit` says so.
"""

_REMARKS = {"zaya": "a token that skips its layer is counted for expert 0 by the token score; the gate score is exact"}


def _row(family: str) -> list[str]:
    seen = {check: result(family, check) for check in CHECKS}
    notes = [] if seen["loss"] == "labelled positions" else ["capped or scaled logits: the head runs on whole rows"]
    notes += [_REMARKS[family]] if family in _REMARKS else []
    return [
        f"`{family}`", seen["layout"], seen["router"], seen["tap"], seen["two banks"], seen["frozen"],
        seen["adapter"], seen["LoRA"], seen["packing"], "; ".join(notes),
    ]  # fmt: skip


def _reason(family: str) -> str:
    try:
        find_moe_layers(skeleton(family))
    except NotAnMoEError as error:
        return str(error).split("; choose")[0]
    raise AssertionError(f"{family} is not refused")


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAGE.write_text(render(), encoding="utf-8")
    print(PAGE)
