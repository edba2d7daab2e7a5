"""Errors that a user can mend, as opposed to faults of the program."""

from __future__ import annotations


class UserError(Exception):
    """A setting, a file or a folder that a user can mend.

    The command line prints the message as one line and exits with 2; everything else is a fault of the program and
    keeps its traceback. The message is one sentence: the file, line or key, what was expected, and what to do.
    """


class SettingError(UserError, ValueError):
    """A setting that cannot be, alone or beside another one."""


class FileError(UserError, ValueError):
    """A file or folder that is not what it should be: damaged, cut, of another kind or of another version."""


_OF_LIGHTNING = "MisconfigurationException"  # told by its name, so that nothing heavy is imported for it
_FAULTS = (ChildProcessError, ProcessLookupError, BlockingIOError, InterruptedError)


def explanation(error: BaseException) -> str | None:
    """What to tell a user who can mend an error, in one line.

    Args:
        error: A `UserError`, Lightning's error for settings, or what the operating system says of a file, a folder, the
            disk or the network.

    Returns:
        The line; None for a fault of the program.
    """
    if isinstance(error, UserError) or any(kind.__name__ == _OF_LIGHTNING for kind in type(error).__mro__):
        return one_line(error)
    if not isinstance(error, OSError) or isinstance(error, _FAULTS):
        return None
    if isinstance(error, IsADirectoryError) and error.filename is not None:
        return f"{error.filename2 or error.filename} is a folder; expected a file"
    if error.filename is not None and error.strerror:
        places = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"{places}: {error.strerror}"
    return one_line(error)


def one_line(error: BaseException) -> str:
    """An error's message without its line breaks; its kind, where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
