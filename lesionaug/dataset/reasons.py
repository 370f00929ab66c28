"""Why a case could not be made, in words for its record."""

from __future__ import annotations

import traceback

from lesionaug.errors import LesionAugError


def reason(error: Exception) -> tuple[str, str]:
    """What to tell, and where it was: the latter only of our own bugs.

    Args:
        error: Caught just now.

    Example:
        >>> reason(LesionAugError("Expected a brain, got none; check the image"))
        ('Expected a brain, got none; check the image', '')
    """
    if isinstance(error, LesionAugError):
        return str(error), ""
    if isinstance(error, OSError):
        return f"{error}; check the file, its permissions and the space left", ""
    return f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
