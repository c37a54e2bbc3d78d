"""The options of a command that say where runs run, and the executor that they ask for."""

from __future__ import annotations

import argparse
from typing import Any

from rdarts.errors import UserError
from rdarts.study.executors.base import Executor, Resources, parse_memory

EXECUTORS = ('local', 'slurm', 'ray')
OF_CLUSTERS = ('gpus', 'cpus', 'memory', 'retries', 'cancel')
OWN = {
    'slurm': ('slurm_partition', 'hours', 'slurm_cluster'),
    'ray': ('ray_address',),
}
NAMES = ('executor', *OF_CLUSTERS, *OWN['slurm'], *OWN['ray'])


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Where runs run, and what each is given there."""
    group = parser.add_argument_group('on a cluster (docs/en/cluster.md)')
    group.add_argument(
        '--executor', choices=EXECUTORS, default='local', help='what runs the runs (default: local)'
    )
    group.add_argument('--gpus', type=int, metavar='N', help='GPUs of a run (default: 0)')
    group.add_argument('--cpus', type=int, metavar='N', help='cores of a run (default: 1)')
    group.add_argument('--memory', metavar='SIZE', help='memory of a run, such as 32G')
    group.add_argument(
        '--retries',
        type=int,
        metavar='N',
        help='how often a run goes on that a machine or a queue has ended (default: 3)',
    )
    group.add_argument(
        '--cancel', action='store_true', help='end the jobs of the runs, and start none'
    )
    group.add_argument('--slurm-partition', metavar='NAME', help="(default: Slurm's)")
    group.add_argument(
        '--hours',
        type=float,
        metavar='H',
        help='time limit of a Slurm job; a run that needs more goes on in another (default: 24)',
    )
    group.add_argument('--slurm-cluster', choices=('slurm', 'local'), help=argparse.SUPPRESS)
    group.add_argument(
        '--ray-address', metavar='ADDRESS', help='of the cluster (default: auto, where it is)'
    )


def check_options(options: dict[str, Any], jobs: int | None) -> Resources:
    """See whether options go together; no cluster is asked.

    Args:
        options (dict[str, Any]): Those of :func:`add_executor_options`, by name.
        jobs (int, optional): How many runs at a time.

    Returns:
        Resources: What a run is given on a cluster.

    Raises:
        UserError: They do not.
    """
    name = options['executor']
    foreign = list(OF_CLUSTERS) if name == 'local' else []
    foreign += [key for owner, keys in OWN.items() if owner != name for key in keys]
    wrong = [key for key in foreign if options[key] is not None and options[key] is not False]
    for key in wrong:
        owners = [owner for owner, keys in OWN.items() if key in keys] or list(OWN)
        raise UserError(f'{_option(key)} is for --executor {" or ".join(owners)}')
    for key, least in (('gpus', 0), ('cpus', 1), ('retries', 0)):
        if options[key] is not None and options[key] < least:
            raise UserError(f'{_option(key)} must be {least} or more, but is {options[key]}')
    hours = options['hours']
    if hours is not None and not 0 < hours < 1e5:
        raise UserError(f'--hours must be more than 0, but is {hours:g}')
    if jobs is not None and jobs < 1:
        raise UserError(f'--jobs must be 1 or more, but is {jobs}')
    memory = options['memory']
    return Resources(
        options['gpus'] or 0, options['cpus'] or 1, None if memory is None else parse_memory(memory)
    )


def build_executor(options: dict[str, Any], jobs: int | None) -> Executor:
    """The executor that options ask for.

    Args:
        options (dict[str, Any]): Those of :func:`add_executor_options`, by name.
        jobs (int, optional): How many runs at a time. Defaults to 1 on this machine, and to all on
            a cluster.

    Raises:
        UserError: Options that do not go together, a package that is missing, or a cluster that is
            not reached.
    """
    resources, name = check_options(options, jobs), options['executor']
    if name == 'slurm':
        from rdarts.study.executors.slurm import SlurmExecutor

        cluster = options['slurm_cluster'] or 'slurm'
        hours = 24.0 if options['hours'] is None else options['hours']
        return SlurmExecutor(resources, options['slurm_partition'], hours, jobs, cluster)
    if name == 'ray':
        from rdarts.study.executors.ray import RayExecutor

        return RayExecutor(resources, options['ray_address'] or 'auto', jobs)
    from rdarts.study.executors.local import LocalExecutor  # loads PyTorch

    return LocalExecutor(jobs or 1)


def _option(key: str) -> str:
    return '--' + key.replace('_', '-')
