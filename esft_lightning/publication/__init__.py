"""Results as readers meet them: tables in four forms, figures in two, claims with their verdicts, sections of a page.

Knows numbers and text alone, no model, task or run. Files are written under a temporary name and renamed.
"""

from esft_lightning.publication.bootstrap import Interval, mean_interval, paired_difference, stratified_difference
from esft_lightning.publication.claim import Claim, Verdict, judge_difference, judge_equality
from esft_lightning.publication.page import write_page
from esft_lightning.publication.section import Figure, Section, write_section
from esft_lightning.publication.table import ResultTable

__all__ = [
    "Claim",
    "Figure",
    "Interval",
    "ResultTable",
    "Section",
    "Verdict",
    "judge_difference",
    "judge_equality",
    "mean_interval",
    "paired_difference",
    "stratified_difference",
    "write_page",
    "write_section",
]
