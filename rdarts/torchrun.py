"""``torchrun`` that ends as quietly as its processes: for ``tools/dist_train.sh``.

Its processes say themselves what has ended them; torchrun would add a traceback, and end with 1.
"""

from __future__ import annotations

import logging
import signal
import sys

from rdarts import cli

SECONDS_TO_SAVE = 600  # after Ctrl-C; torchrun kills its processes after 30


def main() -> int:
    """Run torchrun with the arguments of this process.

    Returns:
        int: What the first process that failed has ended with: 128 + n for signal n.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith('torch.distributed'):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    args = run.parse_args(sys.argv[1:])
    if hasattr(args, 'shutdown_timeout'):  # not in an older torchrun
        args.shutdown_timeout = SECONDS_TO_SAVE
    try:
        run.run(args)
    except SignalException as stop:
        return 128 + int(stop.sigval)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        hint = '; the system does so to what takes too much memory' if name == 'SIGKILL' else ''
        print(f'error: process {rank} of the run was ended by {name}{hint}', file=sys.stderr)
        return 128 - failure.exitcode
    return 0


if __name__ == '__main__':
    cli.start(lambda: None)
    sys.exit(cli.run_guarded(main))
