"""Errors a user can act on: expected, got, remedy."""


class LesionAugError(ValueError):
    """Something the user asked for or handed in cannot work; the message says what would."""


class LesionAugWarning(UserWarning):
    """Something the user asked for was done only in part; the message says how much."""
