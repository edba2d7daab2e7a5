"""An optional judge: a language model behind an OpenAI-compatible endpoint grades free text, as in the paper.

Nothing here is imported unless a judge is asked for. `rubric` is what it is told and how its grade is read, `client`
asks over the network, `answers` keeps what it said, `spending` bounds what it costs, and `grading` grades completions.
"""
