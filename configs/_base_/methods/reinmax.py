"""ReinMax (Liu et al. 2023): one candidate an edge is drawn, with a gradient of second order.

Its paper searches no architectures: temperature 1 and the settings of the config below are ours.
"""

model = dict(backbone=dict(relaxation=dict(type='rdarts.ReinMax', temperature=1.0)))
