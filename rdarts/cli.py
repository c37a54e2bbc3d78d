"""What every tool shares: its start, options of a launcher, errors in one line, exit codes.

A tool first parses its arguments, by :func:`start`, and only then imports what is slow to load::

    if __name__ == '__main__':
        cli.start(parse_args)

    import torch

    def main() -> int: ...

    if __name__ == '__main__':
        sys.exit(cli.run_guarded(main))
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from rdarts.errors import Interrupted, RunFailed, SampleError, UserError
from rdarts.utils.ctrl_c import end_at_once, end_quietly
from rdarts.utils.machine import prepare_threads
from rdarts.utils.option_parser import Parser
from rdarts.utils.ranks import is_main_rank

if TYPE_CHECKING:
    from mmengine.config import Config

INTERRUPTED = 128 + signal.SIGINT
OUTPUT_GONE = 128 + 13  # SIGPIPE
# What wraps the model of a rank on a CPU. The mean of the weights' gradients is one message, taken
# where they lie, unless it is large: there is no core left that could send a part of them earlier.
OF_CPU_RANKS = dict(
    type='MMDistributedDataParallel',
    device_ids=None,
    broadcast_buffers=False,
    bucket_cap_mb=25,
    gradient_as_bucket_view=True,
)


def start(
    parse_args: Callable[[], Any], first_line: Callable[[Any], str | None] | None = None
) -> None:
    """Begin a tool, before it imports what is slow to load.

    Parses its arguments, so that ``--help`` and mistakes end here; sets what PyTorch reads when it
    is loaded (see :func:`rdarts.utils.machine.prepare_threads`); and lets Ctrl-C end the process
    quietly until :func:`run_guarded` runs: an import that is interrupted may turn that into any
    error.

    Args:
        parse_args (Callable): Parses ``sys.argv``; what it gives is left to the tool.
        first_line (Callable, optional): Gives what is printed at once, of the arguments; None
            where that is nothing.

    Raises:
        SystemExit: By ``--help``, or for a mistake in the arguments (code 2).
    """
    end_quietly()

    def parse() -> None:
        args = parse_args()
        line = None if first_line is None else first_line(args)
        if line is not None and is_main_rank():
            with suppress(OSError):  # the tool meets it at its next line
                print(line, flush=True)

    code = run_guarded(parse)
    if code:
        sys.exit(code)
    prepare_threads()


def run_guarded(main: Callable[[], int | None]) -> int:
    """Run a tool and turn what ends it early into one line and an exit code.

    Args:
        main (Callable): The tool.

    Returns:
        int: 0, 2 for a user's mistake, 1 for a failed run, 128 + n for signal n, 141 where nobody
        reads what is printed.
    """
    _leave_out_warnings()
    started = signal.getsignal(signal.SIGINT) is end_at_once
    if started:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    unicode = (getattr(sys.stdout, 'encoding', None) or '').lower() == 'utf-8'
    if unicode and hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='surrogateescape')  # names of files that are no UTF-8
    handle_error = logging.StreamHandler.handleError
    logging.StreamHandler.handleError = _of_a_log_line
    unraisable, sys.unraisablehook = sys.unraisablehook, _of_no_caller
    try:
        code = main() or 0
        sys.stdout.flush()
        return code
    except Interrupted as stop:
        if is_main_rank():
            _say(stop)
        return stop.code
    except BrokenPipeError:
        if not _output_is_gone():
            raise
        return OUTPUT_GONE
    except SystemExit:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            if _output_is_gone():
                return OUTPUT_GONE
            raise
        raise
    except (KeyboardInterrupt, Exception) as error:
        if _was_interrupted(error):
            _say('stopped at once; what was saved before is kept')
            return INTERRUPTED
        if os.environ.get('RDARTS_TRACEBACK'):
            traceback.print_exc()
        known = _explain(error)
        if known is None:
            raise
        line, code = known
        # other mistakes are met by all processes alike
        if code != 2 or isinstance(error, SampleError) or is_main_rank():
            _say(f'error: {line}')
        return code
    finally:
        logging.StreamHandler.handleError = handle_error
        sys.unraisablehook = unraisable
        if started:  # while the interpreter ends, too
            signal.signal(signal.SIGINT, end_at_once)
        if 'torch' in sys.modules:
            import torch

            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def _of_a_log_line(handler: logging.Handler, record: logging.LogRecord) -> None:
    """What is logged to nobody is left out; without it, logging prints a traceback a message."""
    if not isinstance(sys.exc_info()[1], BrokenPipeError):
        logging.Handler.handleError(handler, record)


def _of_no_caller(found: Any) -> None:
    """An error that nobody could catch is printed, but for torch's of a data worker that ended.

    It is lost where it comes while another worker is forked; torch raises one again at the next
    batch.
    """
    if not str(found.exc_value).startswith('DataLoader worker (pid'):
        sys.__unraisablehook__(found)


def _leave_out_warnings() -> None:
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
    # of PyTorch before 2.5 at what it does itself
    warnings.filterwarnings('ignore', message='You are using `torch.load`', module='torch')
    # of mmcv's adjust_color by pillow, whatever it is given
    warnings.filterwarnings('ignore', message="Only use 'alpha' for pillow backend")
    # of 1x1 weights in channels_last, which DDP then copies: a matter of microseconds
    warnings.filterwarnings('ignore', message='Grad strides do not match bucket view strides')
    if warnings.showwarning is not _show_warning:
        _show_warning.others = warnings.showwarning
        warnings.showwarning = _show_warning


def _show_warning(message: Any, *args: Any, **kwargs: Any) -> None:
    """Leaves out what PyTorch before 2.5 says of itself when it is loaded, whatever the filters."""
    if not str(message).startswith('`TorchScript` support for functional optimizers'):
        _show_warning.others(message, *args, **kwargs)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C, or what a library made of it (yapf: a ``SyntaxError``)."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _explain(error: BaseException) -> tuple[str, int] | None:
    """The line and exit code of an error that is no defect of ours."""
    if isinstance(error, (UserError, RunFailed)):
        # an error of a data loader's worker comes back with its traceback before it
        text = str(error).strip()
        line = re.sub(r'^rdarts\.errors\.\w+: ', '', text.splitlines()[-1]) if text else text
        return line, 2 if isinstance(error, UserError) else 1
    from rdarts.configuration.build_errors import explain  # slow to import

    return explain(error)


# Output


def _say(line: object) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it
        pass


def outlive_output() -> None:
    """Go on, silently, once nobody reads what is printed: for tools that also write files.

    Without it, a tool whose reader leaves (``| head``) ends at its next line.
    """
    sys.stdout, sys.stderr = _Outlived(sys.stdout), _Outlived(sys.stderr)


class _Outlived:
    """A stream that goes nowhere once its reader, or its terminal, has gone.

    Args:
        stream (TextIO): The stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """See ``TextIO``."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """See ``TextIO``."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)
            self._stream.flush()

    def _drop(self, error: OSError) -> None:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise error
        _to_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _output_is_gone() -> bool:
    """Whether nobody reads what is printed any more (``| head``); then it goes nowhere."""
    poll = select.poll()
    try:
        poll.register(sys.stdout, 0)
    except OSError:  # no file
        return False
    gone = any(events & select.POLLERR for _, events in poll.poll(0))
    if gone:
        _to_nowhere(sys.stdout)  # else the interpreter tries again when it ends
    return gone


def _to_nowhere(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


# Options


def add_launcher(parser: Parser) -> None:
    """The options by which a launcher starts a tool."""
    choices = ['none', 'pytorch', 'slurm', 'mpi']
    parser.add_argument('--launcher', choices=choices, default='none')
    rank = int(os.environ.get('LOCAL_RANK', 0))
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=rank, help=argparse.SUPPRESS
    )


def add_quiet(parser: Parser) -> None:
    """``--quiet``, of tools that run: see :func:`rdarts.utils.terminal.set_output`."""
    text = 'show warnings, errors and the last lines alone; the files of the log have all'
    parser.add_argument('--quiet', action='store_true', help=text)


def loading_line(args: argparse.Namespace) -> str | None:
    """The first line of a tool that has ``config`` and ``quiet``, before PyTorch is loaded.

    Args:
        args (Namespace): Of the tool.

    Raises:
        UserError: There is no such config.
    """
    from rdarts.configuration.config_names import find_config

    path = find_config(args.config)
    return None if args.quiet else f'{path}: loading PyTorch ...'


def add_cfg_options(parser: Parser, text: str | None = None) -> None:
    """``--cfg-options``: texts, which :func:`rdarts.configuration.options.parse_options` reads.

    Args:
        parser (Parser): The parser.
        text (str, optional): The option's help.
    """
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help=text)


# Several processes


def set_launcher(cfg: Config, launcher: str) -> None:
    """Join the process group; on a CPU by gloo, which mmengine would not do.

    Args:
        cfg (Config): Of the run; it is told what launched it.
        launcher (str): Of :func:`add_launcher`.

    Raises:
        UserError: The launcher's environment is missing, or its port is not free.
    """
    import torch  # slow
    from mmengine.dist import is_distributed

    cfg.launcher = launcher
    if launcher == 'none' or torch.cuda.is_available() or is_distributed():
        return
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs; on CPUs use tools/dist_train.sh')
    missing = [key for key in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR') if key not in os.environ]
    if missing:
        raise UserError(
            f'--launcher pytorch: {missing[0]} is not set; start by tools/dist_train.sh CONFIG N'
        )
    try:
        torch.distributed.init_process_group('gloo')
    except Exception as error:
        port = os.environ.get('MASTER_PORT')
        line = (str(error).splitlines() or [''])[0]
        raise UserError(
            f'cannot join the process group at port {port}: {line}; choose a free port with PORT='
        ) from None
    cfg.model_wrapper_cfg = dict(OF_CPU_RANKS)


def leave_group() -> None:
    """End a distributed run together: a process that ends before the others may abort."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
