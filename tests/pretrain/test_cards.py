"""What `package` appends to a card is kept in one place; the packaged card says the same."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("model", ["diffmask", "lefusion"])
def test_the_packaged_card_ends_as_its_source(model):
    packaged = (ROOT / "lesionaug" / "assets" / f"{model}-compact" / "CARD.md").read_text()
    assert packaged.endswith((ROOT / "pretrain" / "cards" / f"{model}.md").read_text())
