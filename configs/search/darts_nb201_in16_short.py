"""DARTS, first order, in NAS-Bench-201 on ImageNet16-120: annealed within 50 epochs.

50 epochs are those of the DARTS paper. All else is beta-DARTS's, as in the config of 100 epochs.
"""

_base_ = ['./darts_nb201_in16.py']

schedule_epochs = 50
param_scheduler = dict(T_max=schedule_epochs, end=schedule_epochs)
train_cfg = dict(max_epochs=schedule_epochs)
