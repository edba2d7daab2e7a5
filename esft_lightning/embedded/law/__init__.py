"""Law: the facts of a case and a few articles, turned into a ruling (an adaptation task).

One training row::

    user:      The law of Tarnwen.
               Article 587, arson: fine 70, prison 9; armed: prison 14.
               Article 214, theft: fine 40, prison 3; by night: fine 90; confessed: prison 1.
               Facts: Lumpan Kelmer took a goat from the barn without paying. A dog barked. It was done at night.
               Ruling:
    assistant: Guilty of theft under Article 214: fine 90, prison 3.

Every town has its own articles: numbers, fines, prison terms and circumstances stand in the prompt. What counts as
which offence, circumstance or excuse is the same in all towns; with an excuse the ruling is `Not guilty of theft under
Article 214.` Scored by the exact ruling (`esft_lightning.tasks.law_score`).

Held apart (`pools`): wordings of articles, facts and questions, what is said for a deed, a circumstance or an excuse,
names, article numbers, fines and terms. Shared: offences, circumstances and excuses, things and places. Pretraining
reads statutes, what counts as what, and reports of cases (`reading`).
"""

from esft_lightning.embedded.law.cases import Article, Case, draw_articles, draw_case, example, ruling
from esft_lightning.embedded.law.reading import documents

__all__ = ["Article", "Case", "documents", "draw_articles", "draw_case", "example", "ruling"]
