"""What nnU-Net finds: `<name of a trainer>SyntheticMSLesion` is that trainer with lesions."""

from lesionaug.integrations.nnunet.trainers import __getattr__ as __getattr__
