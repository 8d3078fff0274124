"""The warnings of the headline."""

import numpy as np

from suite.analysis.headline import at_chance
from suite.stats.hits import Hits


def test_a_model_at_chance_is_warned_of_in_the_words_of_its_data() -> None:
    right = np.arange(100)[None] % 4 == 0
    dense = Hits("none", right, np.arange(100), kind="videos")
    chance = at_chance(dense, "vim_nano", 4)
    assert "of 100 videos, no better than guessing among 4 classes" in chance
    assert not at_chance(dense, "vim_nano", 10)
