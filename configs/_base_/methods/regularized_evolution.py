"""AmoebaNet's evolution (Real et al. 2019), in which the oldest dies: of 10, and tournaments of 3.

These are the numbers of NATS-Bench's code; the paper's population of 100 and sample of 25 would be
random search for the first 100 queries.

100 queries, of NAS-Bench-201's table or of short trainings: see `_base_/table_search.py`.
"""

_base_ = ['../table_search.py']

strategy = dict(type='rdarts.RegularizedEvolution', population=10, sample=3)
