"""Table 1 of the paper: NAS-Bench-201, searched on CIFAR-10 (the last row of r-DARTS on CIFAR-100).

Each method has its own published settings. The rows of what needs no search, the best cells of the
table among them, stand in every such table.
"""

_base_ = ['../_base_/studies/nb201_small.py']

study = dict(
    title='Table 1: NAS-Bench-201',
    methods=[
        'darts',
        'gdas',
        'pc_darts',
        'darts_minus',
        'snas',
        'dsnas',
        'idarts',
        'beta_darts',
        'lambda_darts',
        'gdas_aer',
        'is_darts',
        'rdarts_l050',  # lambda .5, 15 epochs
        'rdarts',  # lambda .75, 5 epochs
        'rdarts_nb201_c100',  # the same, searched on CIFAR-100
        'naswot',
        'az_nas',
        'swap',
        'parzc',
    ],
    spaces=['nb201'],
    data=['c10'],
    seeds=10,
)
