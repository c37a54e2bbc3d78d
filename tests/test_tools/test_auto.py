"""From a folder of images to a page, by the tool: stopped and resumed, and what it refuses."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from helpers import Finished, ToolProcess, run_tool
from same_runs import assert_same_state, rows
from test_auto.folders import write_colours, write_digits
from test_visualization.page import data_of

from rdarts.checkpoint.directory import find_checkpoint

LIMIT = 2_000_000


def refused(done: Finished, *texts: str) -> None:
    assert done.code == 2, done.out + done.err
    lines = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and 'Traceback' not in done.err, done.err
    assert all(text in lines[0] for text in texts), lines[0]


def wait_for(path: Path, pattern: str, process: ToolProcess, seconds: float = 120) -> None:
    """Until a file is there, or the tool has ended."""
    end = time.monotonic() + seconds
    while not list(path.glob(pattern)) and process.process.is_alive() and time.monotonic() < end:
        time.sleep(0.02)
    assert list(path.glob(pattern))


@pytest.mark.parametrize(
    ('counts', 'options', 'line'),
    [
        (dict(a=20), [], "only one class folder, 'a'"),
        (dict(a=2, b=1), [], "class 'b' has 1 image that can be read, but 5 are the least"),
        (None, [], 'is not there: give a folder'),
        (dict(a=9, b=9), ['--time', '5'], '--time 5: a time has units'),
        (dict(a=9, b=9), ['--max-macs', 'few'], '--max-macs few: a number above 0'),
        (dict(a=9, b=9), ['--held-out', '1'], '--held-out 1.0: a share lies between 0 and 1'),
    ],
)
def test_what_does_not_do_is_one_line_and_leaves_nothing(tmp_path, counts, options, line):
    images, out = tmp_path / 'images', tmp_path / 'out'
    if counts is not None:
        write_colours(images, counts)
    refused(run_tool(['auto.py', images, '--out', out, *options]), line)
    assert not out.exists()


def test_an_output_folder_of_something_else_stays_as_it_is(tmp_path):
    images, out = write_colours(tmp_path / 'images', dict(a=9, b=9)), tmp_path / 'out'
    out.mkdir()
    (out / 'mine.txt').write_text('mine')
    refused(run_tool(['auto.py', images, '--out', out]), 'holds something else (mine.txt)', '--out')
    assert [path.name for path in out.iterdir()] == ['mine.txt']
    (out / 'auto.json').write_text('{')
    refused(run_tool(['auto.py', images, '--out', out]), 'auto.json is damaged')


def test_a_time_too_short_and_limits_that_no_network_meets(tmp_path):
    images, out = write_colours(tmp_path / 'images', dict(a=16, b=16), side=8), tmp_path / 'out'
    given = ['auto.py', images, '--out', out, '--baselines']
    refused(run_tool([*given, '--time', '1s']), '--time 1 s is too short for one epoch', 'least')
    assert not out.exists()
    done = run_tool([*given, '--time', '10m', '--max-macs', '10k', '--max-params', '100'])
    refused(done, 'no network', '--max-macs is 10,000', '--max-params is 100')
    assert not out.exists()


@pytest.mark.slow
def test_stopped_and_killed_it_goes_on_to_the_page(tmp_path):
    images, out = write_digits(tmp_path / 'images'), tmp_path / 'out'
    (images / '3' / 'bad.png').write_bytes(b'')
    command = ['auto.py', images, '--time', '100s', '--max-macs', LIMIT, '--out', out]
    first = ToolProcess([*command, '--baselines', 'mobilenet_v2'])
    wait_for(out / 'search', 'epoch_*.pth', first)
    first.process.terminate()
    stopped = first.wait()
    assert stopped.code == 128 + signal.SIGTERM, stopped.err
    assert 'the same command goes on' in stopped.err
    assert 'images/3/bad.png' in stopped.out and '1 image file that cannot be read' in stopped.out
    plan = json.loads((out / 'auto.json').read_text())['plan']
    second = ToolProcess([*command, '--baselines', 'mobilenet_v2'])
    wait_for(out / 'retrain', '*.pth', second)
    second.process.kill()
    second.wait()
    done = run_tool([*command, '--baselines', 'mobilenet_v2'], timeout=300)
    assert done.code == 0, done.err
    state = json.loads((out / 'auto.json').read_text())
    assert state['plan'] == plan and all(step['ended'] for step in state['steps'].values())
    found = state['result of retrain']['evaluation']
    assert found['macs'] <= LIMIT and found['count'] == 60
    # an epoch or more of a cell tells digits from each other
    assert found['right'] > 20 and sum(map(sum, found['confusion'])) == 60
    data = data_of(out / 'report.html')
    table = data['networks']['rows']
    assert [row['cells'][0] for row in table] == ['found', 'MobileNetV2']
    assert table[0]['cells'][3] == f'{found["right"]} of 60'
    assert len(data['errors']) == min(24, 60 - found['right'])
    assert data['verdict'] in done.out and len(data['confusion']['classes']) == 10
    again = run_tool([*command, '--baselines', 'mobilenet_v2'])
    assert again.code == 0 and again.out.splitlines()[-3:] == done.out.splitlines()[-3:]
    other = run_tool([*command[:3], '2h', *command[4:], '--baselines', 'mobilenet_v2'])
    refused(other, 'holds another run, of seconds 100.0 and not 7200.0', '--out')
    # by hand, in one go, each step comes to the same
    for name, options in (('search', []), ('retrain', ['--genotype', out / 'genotype.json'])):
        work_dir = tmp_path / name
        alone = run_tool(['train.py', out / f'{name}.py', '--work-dir', work_dir, *options])
        assert alone.code == 0, alone.err
        assert_same_state(find_checkpoint(work_dir), find_checkpoint(out / name))
    assert rows(tmp_path / 'search') == rows(out / 'search')
    classified = run_tool(['infer.py', out / 'net.onnx', images / '0', '--top', '1'])
    count = len(list((images / '0').iterdir()))
    assert classified.code == 0 and len(classified.out.splitlines()) == 1 + count
