"""New lesions in the batches of TorchIO 2, whose transforms share nothing with those of TorchIO 1.x."""

from importlib.metadata import version

from lesionaug.errors import LesionAugError

if int(version("torchio").split(".")[0]) < 2:
    raise LesionAugError(
        f"Expected TorchIO 2, got {version('torchio')}; install it: pip install --pre 'torchio>=2.0.0a2', "
        "or stay with TorchIO 1.x: from lesionaug import SyntheticMSLesion"
    )

from lesionaug.integrations.torchio2.transform import SyntheticMSLesion

__all__ = ["SyntheticMSLesion"]
