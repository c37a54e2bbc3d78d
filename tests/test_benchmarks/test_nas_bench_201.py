"""The NAS-Bench-201 table: golden values, memory, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rdarts.benchmarks import NASBench201, find_table
from rdarts.benchmarks.nas_bench_201 import _REQUIRED, OPERATIONS
from rdarts.errors import UserError
from rdarts.genotypes import NASBench201Genotype

CELL = (
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|'
    '+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|'
)


@pytest.fixture(scope='session')
def table(data_root) -> NASBench201:
    return NASBench201(data_root / 'nasbench201')


@pytest.fixture(scope='session')
def synthetic() -> list[str]:
    """Lines of a complete table in which every number is the architecture index."""
    lines = [','.join(_REQUIRED)]
    for index, ops in enumerate(itertools.product(OPERATIONS, repeat=6)):
        text = NASBench201Genotype(ops).to_string()
        lines.append(f'{index},{text}' + f',{index}' * (len(_REQUIRED) - 2))
    return lines


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / 'nasbench201.csv'
    path.write_text('\n'.join(lines) + '\n')
    return path


@pytest.mark.parametrize(
    ('index', 'test'),
    [
        (1835, (54.30, 15.61, 16.32)),
        (9930, (94.36, 73.51, 46.34)),
        (13714, (94.37, 73.09, 46.33)),
        (857, (93.99, 72.88, 47.31)),
    ],
)
def test_published_accuracies(table, index, test):
    record = table.query(index)
    found = [record.accuracy(name) for name in ('cifar10', 'cifar100', 'imagenet16_120')]
    assert found == pytest.approx(test, abs=0.006)


def test_best_of_each_column(table):
    names = ('cifar10', 'cifar100', 'imagenet16_120')
    best = {s: [table.best(n, s).accuracy(n, s) for n in names] for s in ('test', 'valid')}
    assert best['test'] == pytest.approx([94.37, 73.51, 47.31], abs=0.006)
    assert best['valid'] == pytest.approx([91.61, 73.49, 46.73], abs=0.006)


def test_lookup_by_string_index_and_genotype_agree(table):
    genotype = NASBench201Genotype.from_string(CELL)
    records = [table.query(key) for key in (CELL, 9930, np.int64(9930), genotype)]
    assert {record.index for record in records} == {9930}
    assert {record.arch_str for record in records} == {CELL}
    assert len(table) == 15625


def test_sizes_and_latency(table):
    record = table.query(CELL)
    assert record.params() == 1_288_506
    assert record.params('cifar100') == 1_288_506 + 5_850
    assert record.params('imagenet16_120') == 1_288_506 + 7_150
    assert record.macs('cifar10') == 184_730_250
    assert len(table.devices) == 27
    assert record.latency('pixel3') == pytest.approx(35.0333)
    assert record.latency('1080ti_1') > 0
    assert record.as_dict()['cifar10_test_12'] == pytest.approx(88.66)


# not by getrusage: its maximum includes what the parent held when it forked
@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs /proc')
def test_a_fresh_process_stays_under_100_mb(data_root):
    code = (
        'import sys\n'
        'from rdarts.benchmarks import NASBench201\n'
        'table = NASBench201(sys.argv[1])\n'
        'print(table.query(9930).accuracy(), "torch" in sys.modules)\n'
        'status = open("/proc/self/status").read()\n'
        'print(int(status.split("VmHWM:")[1].split()[0]) / 1024)\n'
    )
    command = [sys.executable, '-c', code, str(data_root / 'nasbench201')]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert output[:2] == ['94.3633', 'False']
    assert float(output[2]) < 100


def test_a_table_without_the_latency_file(tmp_path, synthetic):
    table = NASBench201(write(tmp_path, synthetic))
    assert table.devices == ()
    assert table.query(7).accuracy('cifar100', 'valid', 12) == 7
    with pytest.raises(UserError, match="unknown device 'pixel3'"):
        table.query(7).latency('pixel3')


def test_rows_in_any_order(tmp_path, synthetic):
    table = NASBench201(write(tmp_path, [synthetic[0], *reversed(synthetic[1:])]))
    assert table.query(3).accuracy() == 3
    assert table.index_of(table.query(3).arch_str) == 3


def test_find_table(tmp_path, monkeypatch):
    monkeypatch.delenv('RDARTS_DATA', raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_table() is None
    assert find_table('x/y.csv') == Path('x/y.csv')
    (tmp_path / 'data' / 'nasbench201').mkdir(parents=True)
    assert find_table() == Path('data/nasbench201')
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'elsewhere'))
    assert find_table() is None


def damaged(lines: list[str]) -> dict[str, tuple[list[str], str]]:
    wrong_number = lines[5].rsplit(',', 1)[0] + ',many'
    return dict(
        short=(lines[:-1], 'has 15624 rows instead of 15625'),
        fields=([*lines[:-1], lines[-1][:60]], 'line 15626: .* fields instead of 18'),
        twice=([*lines[:-1], lines[-2]], 'lacks architecture 15624'),
        column=([lines[0].replace('cifar100_test_12', 'other'), *lines[1:]], "'cifar100_test_12'"),
        string=([lines[0].replace('arch_str', 'text'), *lines[1:]], 'line 2: a field is no number'),
        number=([*lines[:5], wrong_number, *lines[6:]], 'line 6: a field is no number'),
        header=(['hello', 'world'], 'no NAS-Bench-201 table'),
        empty=([''], 'no NAS-Bench-201 table'),
    )


@pytest.mark.parametrize(
    'case', ['short', 'fields', 'twice', 'column', 'string', 'number', 'header', 'empty']
)
def test_a_wrong_table_is_one_clear_line(tmp_path, synthetic, case):
    lines, message = damaged(synthetic)[case]
    path = write(tmp_path, lines)
    with pytest.raises(UserError, match=message) as error:
        NASBench201(path)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


def test_a_missing_or_cut_off_file(tmp_path, synthetic):
    with pytest.raises(UserError, match='table not found: .*nasbench201.csv.gz'):
        NASBench201(tmp_path)
    packed = gzip.compress('\n'.join(synthetic).encode())
    path = tmp_path / 'nasbench201.csv.gz'
    for data in (packed[: len(packed) // 2], b'no gzip at all'):
        path.write_bytes(data)
        with pytest.raises(UserError, match='cut off or no gzip file'):
            NASBench201(tmp_path)


@pytest.mark.parametrize(
    ('cell', 'message'),
    [
        (CELL.replace('nor_conv_3x3~2', 'nor_conv_3x4~2'), "did you mean 'nor_conv_3x3'"),
        (CELL.replace('nor_conv_3x3~2', 'nor_conv_3x3~1'), 'must end in ~2'),
        (CELL[:-20], 'node 3'),
        ('|none~0|', 'has 1 nodes instead of 3'),
        (15625, 'index 15625 is not within 0 .. 15624'),
        (-1, 'index -1'),
    ],
)
def test_an_unknown_cell(tmp_path, synthetic, cell, message):
    with pytest.raises(UserError, match=message):
        NASBench201(write(tmp_path, synthetic)).query(cell)


def test_unknown_names(tmp_path, synthetic):
    table = NASBench201(write(tmp_path, synthetic))
    record = table.query(0)
    for call, message in [
        (
            lambda: record.accuracy('cifar-10'),
            "unknown data set 'cifar-10': did you mean 'cifar10'",
        ),
        (lambda: record.accuracy(split='validation'), "unknown split 'validation'"),
        (lambda: record.accuracy(epochs=100), "unknown number of epochs '100'"),
        (lambda: record.macs('svhn'), "unknown data set 'svhn'"),
        (lambda: record.params('svhn'), "unknown data set 'svhn'"),
        (lambda: table.column('cifar10_test'), "unknown column 'cifar10_test'"),
        (lambda: table.best('cifar10', 'train'), "unknown split 'train'"),
    ]:
        with pytest.raises(UserError, match=message):
            call()
