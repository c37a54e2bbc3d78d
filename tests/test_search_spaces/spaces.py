"""Spaces of every kind, as configs hold them."""

SIZES = dict(widths=[8, 16], depths=[1, 2], strides=[1, 2])
OWN = dict(
    type='CellSpace',
    name='own',
    cells=dict(
        one=dict(num_nodes=3, edges=[(0, 1, ['none', 'a']), (0, 2, ['b']), (1, 2, ['none', 'a'])]),
        two=dict(num_inputs=2, num_nodes=4, candidates=['a', 'c'], output='concat'),
    ),
    discretizer='Argmax',
    operation_args=dict(a=dict(width=3)),
    parameter_free=['none', 'b', 'of no edge'],
)
SPACES = [
    'darts', 'nas_bench_201', 'nasnet', 's1', 's2', 's3', 's4', 'mobilenet_like', OWN,
    dict(type='mobilenet_like', **SIZES),
    dict(type='darts', leave_out=['none']),
    dict(type='LayerwiseSpace', name='layerwise', layers=[['a', 'b'], ['c']], parameter_free=['c']),
    dict(type='LayerwiseSpace', name='in stages', layers=[['a', 'b'], ['c']], stages=[[8, 2, 2]]),
]  # fmt: skip
