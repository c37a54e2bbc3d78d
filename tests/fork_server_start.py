"""What the server that tools fork from has loaded and read, so that each of them need not."""

from __future__ import annotations

import importlib
import inspect
import os

from mmengine.logging import MMLogger
from quick_runs import read_configs_once, read_once, sync_nothing, write_configs_as_they_come

LOADED = [
    'helpers',
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'sklearn.datasets',
    'rdarts.architect',
    'rdarts.datasets',
    'rdarts.apis.dry_run',
    'rdarts.hooks',
    'rdarts.models',
]


def start() -> None:
    """Load, and read what is read once: the machine, the digits, and what the parts of a search
    take, which a check of its config asks of their source.
    """
    for name in LOADED:
        importlib.import_module(name)
    write_configs_as_they_come()
    sync_nothing()
    read_once()
    read_configs_once()

    import mmengine.runner.runner
    import sklearn.datasets

    from rdarts.configuration.folder import configs_folder
    from rdarts.configuration.load import load_config

    mmengine.runner.runner.collect_env()
    sklearn.datasets.load_digits()
    load_config(configs_folder() / 'search' / 'rdarts_nb201_digits.py')
    MMLogger._instance_dict.clear()  # each tool has one of its own
    inspect.getmodule(start.__code__)  # where modules are, which torch asks for each operator


_, _, path = os.environ.pop('PYTHONPATH').partition(os.pathsep)
if path:  # of who started the tests
    os.environ['PYTHONPATH'] = path
start()
