"""The verbs: one file each, with its arguments and what it prints, and the Lightning command line.

Nothing is imported here: a verb loads what it needs, and its help no heavy library.
"""
