"""The type checker of the import hook in `conftest.py`: beartype that takes an int for a float, as Python does."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
