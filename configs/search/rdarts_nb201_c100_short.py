"""r-DARTS in NAS-Bench-201 on CIFAR-100: lambda .75, annealed within its 5 epochs.

Otherwise as the config that stops the schedule of 100 epochs after the fifth; which of the two
the paper did, it does not say.
"""

_base_ = ['./rdarts_nb201_c100.py']

schedule_epochs = 5
param_scheduler = dict(T_max=schedule_epochs, end=schedule_epochs)
