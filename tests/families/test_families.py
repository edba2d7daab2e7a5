"""Every family of Transformers' experts interface, on a tiny random model, against every promise."""

from __future__ import annotations

import pytest
from conformance import CHECKS, result
from families_page import PAGE, render
from tiny_families import FAMILIES, REFUSED, TEXT_MODELS, known_to_transformers, skeleton

from esft_lightning.moe import NotAnMoEError, find_moe_layers


def test_every_family_of_the_interface_is_in_the_table():
    assert set(known_to_transformers()) <= {*FAMILIES, *REFUSED, *TEXT_MODELS}
    assert len(FAMILIES) >= 50


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_conforms(family, check):
    assert result(family, check)


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_be_is_refused_by_name_of_what_is_missing(family):
    with pytest.raises(NotAnMoEError, match=r"needed is|has no language model"):
        find_moe_layers(skeleton(family))


def test_the_page_is_what_the_checks_saw():
    assert PAGE.read_text(encoding="utf-8") == render(), "run `make families`"
