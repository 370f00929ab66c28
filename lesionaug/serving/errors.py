"""What can go wrong between a renderer and its server."""

from lesionaug.errors import LesionAugError


class LateRenderError(LesionAugError):
    """The server gave no answer in time, or there is none; whoever asked may go on without lesions."""


class RemoteRenderError(RuntimeError):
    """The models raised in the server; the message ends with the traceback from there."""


class WireError(ValueError):
    """Bytes that are no message."""
