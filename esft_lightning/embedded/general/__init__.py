"""General ability in small: facts, instructions with a checkable form, everyday scripts and short stories.

This is the embedded stand-in for the general text and alignment data of a large model. Pretraining reads `documents`
and `chats`; `example` is the general data mixed in at `general_ratio`; the probes that measure what fine-tuning keeps
are in `esft_lightning.embedded.general_probes`.

One row of training data::

    {"messages": [{"role": "user", "content": "Repeat the word lamp three times."},
                  {"role": "assistant", "content": "lamp lamp lamp"}]}

The facts of the world (`world`) are fixed and shared, as general knowledge is: probes ask for them in wordings that no
other text has. Names in stories and scripts are of the pool.
"""

from esft_lightning.embedded.general.reading import chats, documents, example
from esft_lightning.embedded.general.scripts import SCRIPTS
from esft_lightning.embedded.general.stories import handover_story, reason_story

__all__ = ["SCRIPTS", "chats", "documents", "example", "handover_story", "reason_story"]
