"""Errors a user can act on: expected, got, remedy."""


class LesionAugError(ValueError):
    """Something the user asked for or handed in cannot work; the message says what would."""


class BadScanError(LesionAugError):
    """One scan cannot be worked with; others may be all right, so a training may go on without lesions in this one."""


class LesionAugWarning(UserWarning):
    """Something the user asked for was done only in part; the message says how much."""
