"""Weight entanglement (Sukthanker et al. 2023): smaller kernels are parts of the largest of a kind.

The other settings are those of the config below, which is our choice; any relaxation goes with it.
In S2, S3 and S4 no two candidates of an edge are of one kind, so that it is DARTS there.
"""

model = dict(backbone=dict(mixed_op=dict(type='rdarts.EntangledMixedOp')))
