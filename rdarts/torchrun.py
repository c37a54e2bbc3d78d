"""``torchrun`` that ends as quietly as its processes: for ``tools/dist_train.sh``.

Its processes say themselves what has ended them; torchrun would add a traceback, and end with 1.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from rdarts import cli
from rdarts.utils.wording import named_signal

SECONDS_TO_SAVE = 600  # after Ctrl-C; torchrun kills its processes after 30
SECONDS_TO_END = 5  # after a second one; one that waits for another process cannot heed it


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
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        os.environ.setdefault('TORCHELASTIC_SIGNALS_TO_HANDLE', 'SIGTERM,SIGINT,SIGQUIT')
    _pass_on_later_signals()
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
        number = -failure.exitcode
        killed = number == signal.SIGKILL
        hint = '; the system does so to what takes too much memory' if killed else ''
        how = f'{named_signal(number)}{hint}'
        print(f'error: process {rank} of the run was ended by {how}', file=sys.stderr)
        return 128 - failure.exitcode
    return 0


def _pass_on_later_signals() -> None:
    """Send the processes a signal that comes while torchrun waits for them to end.

    torchrun itself would send them SIGTERM, by which they save, whatever the signal is.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException, SubprocessContext

    close = SubprocessContext._close

    def close_in_turn(
        self: SubprocessContext, death_sig: signal.Signals, timeout: int = SECONDS_TO_SAVE
    ) -> None:
        while True:
            try:
                return close(self, death_sig, timeout)
            except SignalException as again:
                death_sig = again.sigval
                if death_sig == signal.SIGINT:
                    timeout = SECONDS_TO_END

    SubprocessContext._close = close_in_turn


if __name__ == '__main__':
    cli.start(lambda: None)
    sys.exit(cli.run_guarded(main))
