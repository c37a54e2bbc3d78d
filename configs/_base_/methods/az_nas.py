"""AZ-NAS (Lee and Ham 2024): the places of each network among all, by four scores, on noise.

One start of a network; in NAS-Bench-201, published are means over five: `evaluator.repeats=5`.
"""

_base_ = ['../score_search.py']

evaluator = dict(
    _delete_=True,
    type='rdarts.Ranked',
    ranking=dict(type='rdarts.AZNAS'),
    repeats=1,
    batch_size=64,
    noise=True,
)
