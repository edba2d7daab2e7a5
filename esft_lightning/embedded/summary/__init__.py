"""Summary: noisy call transcript → one note (an adaptation task).

One training row::

    user:      Agent: Hello, how can I help?
               Customer: Um... It is order 4131, no sorry, 4137, a Velto kettle. Order 2205 was fine, by the way.
               Agent: What is wrong?
               Customer: I do not say that it hums all night. It drips water.
               Agent: What do you want?
               Customer: You need not pay me back. Please mend it by Monday, I mean Friday.
               Agent: Fine, I will ask my boss.
               Write the note.
    assistant: Order 4137, Velto kettle: leaking. Wanted: repair by Friday. Next: ask the manager.

Callers hesitate, correct themselves, and name what they do not mean. Scored by what must be understood
(`esft_lightning.tasks.summary_score`): the labels of fault, wish and promise, in a note about the right order; what can
be copied from the call (thing, day) earns nothing.

Held apart (`pools`): turns of calls and what is said for a label (`wordings`, `lexicon`), brands and order numbers.
Shared: the labels, the days, what things are called. Pretraining reads which phrase means which label (`reading`).
"""

from esft_lightning.embedded.summary.calls import Call, draw_call, example, note, transcript
from esft_lightning.embedded.summary.reading import documents

__all__ = ["Call", "documents", "draw_call", "example", "note", "transcript"]
