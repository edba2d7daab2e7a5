"""`DataError`: data that a user can mend."""

from esft_lightning.errors import UserError


class DataError(UserError, ValueError):
    """Data that cannot be used as it is; the message names the place, what was expected and the way out."""
