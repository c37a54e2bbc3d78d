"""SWAP (Peng et al. 2024), not regularised: 16 images, the mean over 32 starts of a network.

Its published code scores cells alone, without a stem, and regularises by numbers of parameters that
it does not say for every space: `evaluator.score.mu` and `sigma` set them.
"""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.SWAP'), repeats=32, batch_size=16)
