"""NAO (Luo et al. 2018): uphill of the best, on an embedding that is learnt from what is known.

The published numbers, which are the defaults of `rdarts.NAO`, begin with 600 random cells and take
1,000 epochs a round. These are for some hundred queries.

100 queries, of NAS-Bench-201's table or of short trainings: see `_base_/table_search.py`.
"""

_base_ = ['../table_search.py']

strategy = dict(
    type='rdarts.NAO',
    initial=40,
    per_round=30,
    top=10,
    epochs=50,
    embedding=32,
    hidden=32,
    widths=[],
    batch=100,
    lr=0.01,
)
