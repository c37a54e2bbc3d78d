"""Table 3 of the paper: peak memory of a search step, of four methods in two spaces on CIFAR-10.

The paper measured a GPU's memory; here it is the process's, on the CPU, in plain and in fused
execution. So the figures stand beside the paper's for their order alone. The paper does not say in
which form DrNAS was measured: `drnas` mixes all channels, the first stage of `drnas_progressive` a
quarter of them.
"""

study = dict(
    kind='memory',
    title='Table 3',
    methods=['darts', 'snas', 'drnas', 'drnas_progressive', 'rdarts'],
    spaces=['darts', 'nb201'],
    executions=['plain', 'fused'],
    seeds=1,
    steps=dict(batch_size=64, width=16, image_size=32),
    published=dict(
        darts=dict(darts=8554, snas=9400, drnas=10580, rdarts=8554),
        nb201=dict(darts=2012, drnas=949, rdarts=2012),
    ),
    absent={'darts: drnas_progressive': 'it mixes a sixth of the channels, which 16 do not have'},
    small=dict(
        says='batch 16; 3 cells, in NAS-Bench-201 one a stage',
        steps=dict(batch_size=16),
        depths=dict(darts=3, nb201=1),
    ),
)
