"""`UserError`: what the person at the keyboard can mend. Imports nothing."""


class UserError(Exception):
    """A setting, a file or a folder that a user can mend.

    The command line prints the message as one line and exits with 2; everything else is a fault of the program and
    keeps its traceback. The message is one sentence: the file, line or key, what was expected, and what to do.
    """
