"""The spaces S1 to S4 on CIFAR-10 and CIFAR-100 (App. E), retrained as RobustDARTS does.

Networks have 8 cells and 16 channels. The appendix is not available: these are the methods of this
package that were made against the collapse which these spaces provoke.
"""

_base_ = ['../_base_/studies/darts_small.py']

study = dict(
    title='S1 to S4',
    methods=[
        'darts',
        'pc_darts',
        'darts_minus',
        'darts_pt',
        'robust_darts',
        'sdarts_rs',
        'sdarts_adv',
        'beta_darts',
        'lambda_darts',
        'oles',
        'is_darts',
        'rdarts',
    ],
    spaces=['s1', 's2', 's3', 's4'],
    data=['c10', 'c100'],
    seeds=3,
    retrain=dict(c10='darts_c10_16x8', c100='darts_c100_16x8'),
    small=dict(
        says='5 cells, 8 channels, a quarter of the images, 10 epochs; networks of 8 cells, 16 '
        'channels, a tenth of the images, 10 epochs',
        options={'limit': 12500},
    ),
)
