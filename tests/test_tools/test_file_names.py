"""Work directories whose names the locale, or UTF-8, cannot decode."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from forks import MEASURES
from helpers import TOOLS

CONFIG = TOOLS.parent / 'configs' / 'search' / 'rdarts_nb201_digits.py'
SMALL = ['limit=128', 'train_dataloader.batch_size=32', 'arch_dataloader.batch_size=32']
ASCII = dict(LC_ALL='C', PYTHONCOERCECLOCALE='0', PYTHONUTF8='0')
UTF8 = dict(LC_ALL='C.UTF-8', PYTHONUTF8='1')


def run(folder: bytes, locale: dict[str, str], *args: str, tool: str = 'train.py') -> None:
    command = [sys.executable, str(TOOLS / tool), *args]
    env = {key: value for key, value in os.environ.items() if not key.startswith('PYTHONIO')}
    env.pop(MEASURES, None)  # all that is run here is measured elsewhere
    done = subprocess.run(
        [*map(os.fsencode, command), folder],
        env={**env, **locale},
        cwd=TOOLS.parent,
        capture_output=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert b'Error' not in said and b'Traceback' not in said, said


@pytest.mark.slow
def test_a_search_in_it_is_saved_resumed_and_shown(tmp_path):
    """An accent that the first locale lacks, and a byte that is no UTF-8 in either."""
    folder = os.fsencode(tmp_path) + 'é'.encode() + b'/\xff'
    start = [str(CONFIG), '--cfg-options', *SMALL]
    run(folder, ASCII, *start, 'epochs=1', '--work-dir')
    run(folder, UTF8, *start, 'train_cfg.max_epochs=2', '--resume', '--work-dir')
    names = os.listdir(folder)
    assert b'genotype.json' in names and b'epoch_2_iter_4.pth' in names
    with open(folder + b'/last_checkpoint', 'rb') as file:
        assert file.read() == folder + b'/epoch_2_iter_4.pth'
    logs = [one for one in os.listdir(folder) if one.startswith(b'20')]
    texts = []
    for one in logs:
        with open(folder + b'/' + one + b'/' + one + b'.log', 'rb') as file:
            texts.append(file.read())
    shown = [re.search(rb'^writes to:  (.*)$', text, re.MULTILINE)[1] for text in texts]
    clone = os.fsencode(TOOLS.parent)  # from which a path is shown, where that is near
    assert [os.path.abspath(os.path.join(clone, path)) for path in shown] == [folder] * 2, texts
    for locale in (ASCII, UTF8):
        run(folder, locale, tool='report.py')
