"""How much of the regulariser (App. H): r-DARTS in NAS-Bench-201 over lambda, 0 being DARTS.

The appendix is not available: which values it has is not known, and these are ours.
"""

_base_ = ['../_base_/studies/nb201_small.py']

study = dict(
    title='r-DARTS over lambda: NAS-Bench-201',
    methods=[
        dict(
            method='rdarts',
            options={'default_hooks.architect.lambda_': value},
            named=f'lambda_{value:g}',
        )
        for value in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    ],
    spaces=['nb201'],
    data=['c10'],
    seeds=10,
)
