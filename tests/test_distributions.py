"""Tables of quantiles give back what they were made of."""

import numpy as np
import pytest
import torch

from lesionaug.distributions import ConditionalQuantiles, Quantiles


def test_quantiles_give_back_their_sample():
    sample = np.random.default_rng(0).normal(size=500)
    table = Quantiles.of(sample)
    generator = torch.Generator().manual_seed(0)
    drawn = [table.draw(generator) for _ in range(2000)]
    assert abs(np.mean(drawn) - sample.mean()) < 0.1
    assert abs(np.std(drawn) - sample.std()) < 0.1
    inside = [table.draw(generator, 0.5, 0.7) for _ in range(50)]
    assert min(inside) >= 0.5
    assert max(inside) <= 0.7
    for low, high in ((8.0, 9.0), (-9.0, -8.0)):  # where the sample has nothing
        beyond = [table.draw(generator, low, high) for _ in range(50)]
        assert low <= min(beyond) < low + 0.2
        assert high - 0.2 < max(beyond) <= high


def test_conditional_quantiles_follow_what_is_given():
    rng = np.random.default_rng(0)
    given = rng.uniform(0, 4, 800)
    table = ConditionalQuantiles.of(given, given + 0.1 * rng.normal(size=800))
    generator = torch.Generator().manual_seed(0)
    for value in (1.0, 2.0, 3.0):
        assert np.mean([table.draw(value, generator) for _ in range(100)]) == pytest.approx(value, abs=0.15)
