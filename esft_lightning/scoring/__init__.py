"""What tasks share in scoring: text and number comparison, pass@k, the walls around generated code, an optional judge.

Knows no task. Nothing is imported here: some of these modules are read by programs that run isolated.
"""
