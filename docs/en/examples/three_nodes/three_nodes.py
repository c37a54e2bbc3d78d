"""A space of one's own in one file: dense cells of three nodes, with a dilated convolution.

Everything else asks the space what belongs to it.
"""

from pathlib import Path

from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces import SearchSpace, dense_cell

CANDIDATES = ('none', 'skip_connect', 'nor_conv_3x3', 'dil_conv_3x3')


@SEARCH_SPACES.register_module(name='three_nodes')
def three_nodes() -> SearchSpace:
    """Three nodes, three edges, four candidates each: 64 cells."""
    return SearchSpace(
        name='three_nodes',
        cells={'cell': dense_cell(1, 3, CANDIDATES, output='last')},
        genotype='dense_cell',
        discretizer='Argmax',
        supernet='rdarts.NASBench201Supernet',
        network='rdarts.NASBench201Net',
        stems=('cifar', 'imagenet'),
        config_name='nb201',  # `rdarts.apis.search` takes configs/search/<method>_nb201_c10.py
        retraining=dict(Digits=str(Path(__file__).with_name('retrain.py'))),
    )
