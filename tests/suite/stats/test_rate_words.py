"""Which learning rates were chosen, in words."""

import pytest

from suite.stats.rate_words import rates_answer

RATES = (1e-4, 3e-4, 1e-3)
AMONG = "Of the learning rates 0.0001, 0.0003 and 0.001, 600 held-out training images chose"


@pytest.mark.parametrize(
    ("picks", "answer"),
    [
        ((3e-4, 3e-4), "0.0003 for every training."),
        (
            (1e-3, 1e-3),
            "0.001 for every training. 0.001 is the largest: a larger one may do better. "
            "Try --lr 0.0001,0.0003,0.001,0.0033.",
        ),
        (
            (1e-4, 3e-4, 3e-4, 1e-3),
            "0.0001 for 1, 0.0003 for 2 and 0.001 for 1 of 4 trainings. 0.001 is the largest: a "
            "larger one may do better. 0.0001 is the smallest: a smaller one may do better. "
            "Try --lr 3.3e-05,0.0001,0.0003,0.001,0.0033.",
        ),
        (
            (1e-4, 3e-4),
            "0.0001 for 1 and 0.0003 for 1 of 2 trainings. 0.0001 is the smallest: a smaller one "
            "may do better. Try --lr 3.3e-05,0.0001,0.0003,0.001.",
        ),
    ],
)
def test_a_choice_at_an_end_of_the_list_asks_for_a_wider_one(
    picks: tuple[float, ...], answer: str
) -> None:
    rows = []
    for number, pick in enumerate(picks):
        for rate in RATES:
            row = {"training": f"net-{number}", "learning_rate": rate, "picked": rate == pick}
            rows.append(row | {"held_out_images": 600})
    assert rates_answer(rows) == f"{AMONG} {answer}"
