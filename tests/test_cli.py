"""``rdarts.cli``: Ctrl-C before, within and after a tool, and output that nobody reads."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import torch
from helpers import digits_config

from rdarts import cli
from rdarts.errors import UserError

START = """
import sys
from rdarts import cli

if __name__ == '__main__':
    cli.start(lambda: None)
"""
SLOW = """
import time
print('ready', flush=True)
try:
    time.sleep(60)
except BaseException:  # as C extensions do
    raise ImportError('cannot be imported')
"""


def start(folder, text, **files):
    """Start a program, which reacts to SIGINT also where tests run in a shell's background."""
    for name, content in files.items():
        (folder / f'{name}.py').write_text(content)
    (folder / 'tool.py').write_text(text)
    return subprocess.Popen(
        [sys.executable, str(folder / 'tool.py')],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize('when', ['while it imports', 'when it ends'])
def test_ctrl_c_outside_of_the_work_is_quiet(when, tmp_path):
    if when == 'while it imports':
        text = START + 'import slow\n'
    else:
        text = (
            START + 'if __name__ == "__main__":\n    cli.run_guarded(lambda: 0)\n    import slow\n'
        )
    process = start(tmp_path, text, slow=SLOW)
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, '', '')


def test_ctrl_c_that_a_library_turns_into_an_error(capsys):
    def main():
        try:
            raise KeyboardInterrupt
        except BaseException:  # as mmengine around yapf
            raise SyntaxError('Failed to format the config file')  # noqa: B904

    assert cli.run_guarded(main) == 130
    err = capsys.readouterr().err
    assert err == 'stopped at once; what was saved before is kept\n'


def test_a_start_leaves_an_ignored_ctrl_c_ignored(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr(cli, 'prepare_threads', lambda: None)
        cli.start(lambda: None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert cli.run_guarded(lambda: 0) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


WORK = """
import logging

def main():
    {outlive}
    logger = logging.getLogger('run')
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logger.addHandler(logging.FileHandler({log!r}))
    logger.warning('first')
    sys.stdin.read()  # until nobody reads
    for number in range(3):
        logger.warning(number)
        print(number)
    print('ended', file=sys.stderr)
    return 0

if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
"""


def run_into_a_closed_pipe(folder, outlive, both=False):
    log = folder / 'run.log'
    process = start(folder, START + WORK.format(outlive=outlive, log=str(log)))
    assert process.stdout.readline() == 'first\n'
    process.stdout.close()
    if both:
        process.stderr.close()
    process.stdin.close()
    err = '' if both else process.stderr.read()
    process.wait(60)
    return process.returncode, err, log.read_text().split()


@pytest.mark.parametrize('both', [False, True])
def test_a_run_outlives_its_output(both, tmp_path):
    code, err, log = run_into_a_closed_pipe(tmp_path, 'cli.outlive_output()', both)
    assert (code, log) == (0, ['first', '0', '1', '2'])
    assert err == ('' if both else 'ended\n')


def test_what_a_tool_logs_to_nobody_prints_no_traceback(tmp_path):
    code, err, log = run_into_a_closed_pipe(tmp_path, 'pass')
    assert (code, log[:2]) == (141, ['first', '0'])  # it ends at a line that it prints itself
    assert err in ('', 'ended\n')


def test_without_that_a_tool_ends_quietly_at_its_next_line(tmp_path):
    (tmp_path / 'tool.py').touch()
    text = (
        'def main():\n    print("first", flush=True)\n    sys.stdin.read()\n'
        '    print("next", flush=True)\n    raise ZeroDivisionError\n'
        'if __name__ == "__main__":\n    sys.exit(cli.run_guarded(main))\n'
    )
    process = start(tmp_path, START + text)
    assert process.stdout.readline() == 'first\n'
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == ''
    assert process.wait(60) == 141


@pytest.mark.parametrize(
    ('line', 'shown'), [('DataLoader worker (pid 5) is killed by signal: Killed. ', 0), ('x', 1)]
)
def test_an_error_of_a_worker_that_nobody_could_catch_prints_no_traceback(line, shown, tmp_path):
    text = (
        f'class Lost:\n    def __del__(self):\n        raise RuntimeError({line!r})\n'
        'def main():\n    Lost()\n'
        'if __name__ == "__main__":\n    sys.exit(cli.run_guarded(main))\n'
    )
    process = start(tmp_path, START + text)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.count('Traceback')) == (0, shown)


def test_help_into_a_closed_pipe(tmp_path):
    text = 'import sys\nfrom rdarts import cli\n\ndef parse():\n    sys.stdin.read()\n'
    text += "    print('usage')\n    raise SystemExit(0)\n\ncli.start(parse)\n"
    process = start(tmp_path, text)
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == ''
    assert process.wait(60) == 141


def test_another_error_of_the_output_is_not_hidden():
    class Full:
        def write(self, text):
            raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space'):
        cli._Outlived(Full()).write('x')


def test_a_run_that_nothing_launched_joins_no_group(tmp_path):
    cfg = digits_config(tmp_path)
    cli.set_launcher(cfg, 'none')
    assert cfg.launcher == 'none'
    assert cfg.get('model_wrapper_cfg') is None


@pytest.mark.skipif(torch.cuda.is_available(), reason='GPUs are joined by mmengine')
def test_a_launcher_whose_environment_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(UserError, match='--launcher pytorch: RANK is not set; start by tools/dist'):
        cli.set_launcher(digits_config(tmp_path), 'pytorch')
