"""The subcommands of ``rdarts``: which tool of ``tools/`` each of them is."""

from __future__ import annotations

from typing import NamedTuple


class Subcommand(NamedTuple):
    """A subcommand, which takes the arguments of its tool.

    Args:
        tool (str): The tool's path in ``tools/``.
        text (str): What it does, for the list of subcommands.
        configs (tuple[str, ...]): The folders of ``configs`` whose configs it is for. Defaults to
            none, all of them.
    """

    tool: str
    text: str
    configs: tuple[str, ...] = ()


SUBCOMMANDS = {
    'auto': Subcommand('auto.py', 'make a trained network, and its page, of a folder of images'),
    'search': Subcommand(
        'train.py', 'search an architecture, from a config of configs/search', ('search',)
    ),
    'retrain': Subcommand(
        'train.py', 'train what was found, from a config of configs/retrain', ('retrain',)
    ),
    'detect': Subcommand(
        'train.py', 'train a detector on it, from a config of configs/detection', ('detection',)
    ),
    'test': Subcommand('test.py', 'evaluate a checkpoint on the test images of its config'),
    'export': Subcommand('export.py', 'write a network as ONNX, torch.export or safetensors'),
    'infer': Subcommand('infer.py', 'classify images by an exported or a retrained network'),
    'compare': Subcommand(
        'analysis/compare.py', 'run methods over seeds, and compare what they find'
    ),
    'compare-cells': Subcommand(
        'analysis/compare_cells.py', 'train the cell that was found beside two others, all alike'
    ),
    'sweep': Subcommand(
        'analysis/sweep.py', 'search under options that Optuna proposes', ('search',)
    ),
    'report': Subcommand('report.py', 'write the report of searches, as one HTML file'),
    'plot': Subcommand('analysis/plot_search.py', 'plot searches over their epochs or queries'),
    'draw': Subcommand('analysis/draw_genotype.py', 'draw a genotype as SVG, PNG or PDF'),
    'complexity': Subcommand(
        'analysis/complexity.py', 'parameters, multiply-adds, memory and latency of a network'
    ),
    'score': Subcommand('analysis/score_cells.py', 'training-free scores of cells, as a table'),
    'cost-table': Subcommand(
        'benchmarks/cost_table.py', 'measure what every candidate of every edge costs'
    ),
    'convert': Subcommand(
        'converters/darts_official.py', 'convert a checkpoint of the official DARTS code'
    ),
    'configs': Subcommand('configs.py', 'list methods, spaces, data and the configs of them'),
    'completion': Subcommand('completion.py', 'print what bash or zsh needs to complete rdarts'),
    'install-detection': Subcommand(
        'install_detection.py', "install mmdetection, and mmcv's compiled operators"
    ),
}
"""By name, in the order in which they are listed."""
