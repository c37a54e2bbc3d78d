"""The NAS-Bench-201 table: golden values, memory, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_table import CELLS, accuracy_of, table_lines, without

from rdarts.benchmarks import NASBench201, find_table
from rdarts.benchmarks.nas_bench_201_file import SIZES
from rdarts.errors import UserError
from rdarts.genotypes import DenseCellGenotype

ROOT = Path(__file__).resolve().parents[2]
CELL = (
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|'
    '+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|'
)


@pytest.fixture(scope='session')
def table(data_root) -> NASBench201:
    return NASBench201(data_root / 'nasbench201')


@pytest.fixture(scope='session')
def synthetic() -> list[str]:
    """Lines of a complete table."""
    return table_lines()


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
    genotype = DenseCellGenotype.from_string(CELL, 'nas_bench_201')
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
    assert table.query(7).accuracy('cifar100', 'valid', 12) == accuracy_of(
        7, 'cifar100', 'valid', 12
    )
    with pytest.raises(UserError, match="no latency of 'pixel3': .*put nasbench201_latency.csv.gz"):
        table.query(7).latency('pixel3')


LATENCIES = ['arch_index,phone_1,phone_2', *(f'{i},{i}.5,{i}.25' for i in range(15625))]


def test_the_latency_file_is_read_when_a_device_is_asked_for(tmp_path, synthetic):
    path = tmp_path / 'nasbench201_latency.csv.gz'
    table = NASBench201(write(tmp_path, synthetic))
    path.write_bytes(gzip.compress('\n'.join(LATENCIES).encode(), 1))
    assert table.devices == ('phone_1', 'phone_2')
    assert table.query(3).latency('phone_2') == 3.25
    with pytest.raises(UserError, match="unknown device 'phone2': did you mean 'phone_2'"):
        table.query(3).latency('phone2')


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (LATENCIES[:9], 'has 8 rows instead of 15625: it is cut off'),
        (['device,phone', *LATENCIES[1:]], 'names no arch_index'),
        ([LATENCIES[0], '0,fast,1', *LATENCIES[2:]], "line 2: 'fast' in the column 'phone_1'"),
        ([*LATENCIES[:-1], '15624,1'], 'line 15626: 2 fields instead of 3'),
        (None, 'cut off or no gzip file'),
    ],
    ids=['short', 'columns', 'number', 'fields', 'gzip'],
)
def test_a_wrong_latency_file_spares_the_rest(tmp_path, synthetic, lines, message):
    path = tmp_path / 'nasbench201_latency.csv.gz'
    packed = gzip.compress('\n'.join(lines or LATENCIES).encode(), 1)
    path.write_bytes(packed if lines else packed[:5000])
    record = NASBench201(write(tmp_path, synthetic)).query(7)
    assert record.accuracy() == accuracy_of(7, 'cifar10')
    for _ in range(2):
        with pytest.raises(UserError, match=message) as error:
            record.latency('phone_1')
        assert str(path) in str(error.value)


def test_what_a_spreadsheet_adds(tmp_path, synthetic):
    path = tmp_path / 'nasbench201.csv'
    path.write_bytes('\r\n'.join(['\ufeff' + synthetic[0], *synthetic[1:], '', '']).encode())
    assert NASBench201(path).query(15624).accuracy() == accuracy_of(15624, 'cifar10')


def test_nobody_changes_the_table(table):
    for array in (table.column('cifar10_test_200'), table.latencies('pixel3')):
        assert array.shape == (15625,)
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 1
    assert table.query(0) == table.query(0)
    with pytest.raises(AttributeError):
        table.query(0).index = 1


def test_rows_in_any_order(tmp_path, synthetic):
    table = NASBench201(write(tmp_path, [synthetic[0], *reversed(synthetic[1:])]))
    assert table.query(3).accuracy() == accuracy_of(3, 'cifar10')
    assert table.index_of(table.query(3).arch_str) == 3


class OfficialAPI:
    """What the page's recipe uses of ``nats_bench``, with its names and its refusals."""

    def __init__(self, cells: list[str]) -> None:
        self.cells = cells

    def __len__(self) -> int:
        return len(self.cells)

    def arch(self, index: int) -> str:
        return self.cells[index]

    def get_more_info(self, index, dataset, iepoch=None, hp='12', is_random=True):
        assert is_random is False, 'a random run instead of the mean of all'
        assert hp in ('12', '200')
        name = dataset.removesuffix('-valid').lower().replace('-', '_')
        # that of 'cifar10-valid' is of networks trained on half of the images
        less = 5 * (dataset == 'cifar10-valid')
        info = {'test-accuracy': max(accuracy_of(index, name, 'test', int(hp)) - less, 0)}
        # as in the official API: trained on train + valid, so nothing is left to validate on
        if dataset != 'cifar10':
            info['valid-accuracy'] = accuracy_of(index, name, 'valid', int(hp))
        return info

    def get_cost_info(self, index, dataset, hp='12'):
        name = dataset.lower().replace('-', '_')
        counts = [1, *(self.cells[index].count(f'nor_conv_{k}') for k in ('1x1', '3x3'))]

        def million(column):
            return sum(a * b for a, b in zip(counts, SIZES[column], strict=True))

        # as in the official API: with the classifier of that data set
        more = {'cifar10': 0, 'cifar100': 0.00585, 'imagenet16_120': 0.00715}[name]
        params = million('params_m_cifar10') + more
        return {'flops': million(f'flops_m_{name}'), 'params': params, 'latency': 0.01}


@pytest.mark.slow
def test_the_recipe_of_the_page_makes_a_table(tmp_path, synthetic, monkeypatch):
    page = (ROOT / 'docs' / 'en' / 'nas_bench_201.md').read_text(encoding='utf-8')
    script = page.split('<!-- example: make_table.py -->\n```python\n')[1].split('```')[0]
    opened = []

    def create(path, search_space, fast_mode=False, verbose=True):
        opened.append((path, search_space))
        return OfficialAPI([line.split(',')[1] for line in synthetic[1:]])

    monkeypatch.setitem(sys.modules, 'nats_bench', SimpleNamespace(create=create))
    monkeypatch.setattr(sys, 'argv', ['make_table.py', 'NATS-tss-v1_0-3ffb9-simple'])
    monkeypatch.chdir(tmp_path)
    exec(compile(script, 'make_table.py', 'exec'), {})
    assert opened == [('NATS-tss-v1_0-3ffb9-simple', 'tss')]
    record = NASBench201(tmp_path).query(2000)
    assert record.accuracy('cifar10', 'test', 200) == accuracy_of(2000, 'cifar10')
    assert record.accuracy('cifar10', 'valid', 200) == accuracy_of(2000, 'cifar10', 'valid')
    assert record.accuracy('cifar100', 'test', 12) == accuracy_of(2000, 'cifar100', epochs=12)
    assert record.accuracy('imagenet16_120', 'valid', 12) == pytest.approx(
        accuracy_of(2000, 'imagenet16_120', 'valid', 12)
    )
    assert CELLS[2000].count('nor_conv_1x1') == 0 and CELLS[2000].count('nor_conv_3x3') == 1
    assert (record.params(), record.params('cifar100')) == (316_346, 322_196)
    assert (record.macs(), record.macs('imagenet16_120')) == (43_172_490, 10_800_760)


def test_find_table(tmp_path, monkeypatch):
    monkeypatch.delenv('RDARTS_DATA', raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_table() is None
    assert find_table('x/y.csv') == Path('x/y.csv')
    (tmp_path / 'data' / 'nasbench201').mkdir(parents=True)
    assert find_table() == Path('data/nasbench201')
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'elsewhere'))
    assert find_table() is None


def edited(lines: list[str], edit) -> list[str]:
    """A table whose rows, as dicts of strings, were edited."""
    header = lines[0].split(',')
    rows = [dict(zip(header, line.split(','), strict=True)) for line in lines[1:]]
    edit(rows)
    return [lines[0], *(','.join(row.values()) for row in rows)]


def exchange(rows, first, second):
    for row in rows:
        row[first], row[second] = row[second], row[first]


def divide(rows, column):
    for row in rows:
        row[column] = f'{float(row[column]) / 100}'


def shift(rows, column):
    values = [row[column] for row in rows]
    for row, value in zip(rows, values[1:] + values[:1], strict=True):
        row[column] = value


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda r: r[9].update(cifar10_test_200='100.01'), 'line 11: 100.01 .* is no percentage'),
        (lambda r: r[9].update(cifar100_valid_12='-1'), 'line 11: -1 in the column .* is no perc'),
        (
            lambda r: r[0].update(cifar10_test_12='90'),
            'line 2: 90 .* is above chance, but',
        ),
        (
            lambda r: shift(r, 'cifar10_test_200'),
            'but the cell joins its output to',
        ),
        (lambda r: shift(r, 'arch_str'), "in the column 'params_m_cifar10', but '.*' has 0."),
        (lambda r: r[-1].update(params_m_cifar10='1.2'), "line 15626: 1.2 in the column 'params"),
        (lambda r: r[7].update(flops_m_cifar100='0'), "line 9: 0 in the column 'flops_m_cifar100'"),
        (lambda r: exchange(r, 'cifar10_test_12', 'cifar10_test_200'), 'are they exchanged'),
        (lambda r: divide(r, 'cifar10_valid_12'), "the column 'cifar10_valid_12' holds fractions"),
        (lambda r: exchange(r, 'cifar100_valid_200', 'imagenet16_120_valid_200'), 'are they exch'),
    ],
)
def test_numbers_that_no_table_holds(tmp_path, synthetic, edit, message):
    path = write(tmp_path, edited(synthetic, edit))
    with pytest.raises(UserError, match=message) as error:
        NASBench201(path)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_negative_latencies(tmp_path, synthetic):
    lines = [f'{line},{"latency_ms_x" if i == 0 else i}' for i, line in enumerate(synthetic)]
    lines[9] = lines[9].rsplit(',', 1)[0] + ',-3'
    table = NASBench201(write(tmp_path, [lines[0], *reversed(lines[1:])]))
    with pytest.raises(UserError, match=r"line 15618: the latency -3 in the column 'latency_ms_x'"):
        table.latencies('x')


def damaged(lines: list[str]) -> dict[str, tuple[list[str], str]]:
    in_last = "in the column 'flops_m_imagenet16_120' is no finite number"

    def last_is(text: str) -> str:
        return lines[5].rsplit(',', 1)[0] + ',' + text

    def cell(line: int) -> str:
        return lines[line].split(',')[1]

    return dict(
        short=(lines[:-1], 'has 15624 rows instead of 15625: it is cut off'),
        fields=([*lines[:-1], lines[-1][:60]], 'line 15626: .* fields instead of 18'),
        long=([*lines, lines[-1]], 'has 15626 rows instead of 15625$'),
        index_twice=([*lines[:-1], lines[-2]], 'has arch_index 15623 twice and lacks 15624'),
        index_outside=(
            [*lines[:-1], lines[-1].replace('15624,', '15625,', 1)],
            'line 15626: arch_index 15625 is no whole number within 0 .. 15624',
        ),
        index_fraction=(
            [*lines[:-1], lines[-1].replace('15624,', '15623.5,', 1)],
            'line 15626: arch_index 15623.5 is no whole number',
        ),
        column=(
            [lines[0].replace('cifar100_test_12', 'other'), *lines[1:]],
            'lacks the column cifar100_test_12;',
        ),
        columns=(
            [lines[0].replace('arch_str', 'a').replace('params_m_cifar10', 'b'), *lines[1:]],
            'lacks the columns arch_str, params_m_cifar10;',
        ),
        column_twice=([lines[0] + ',arch_str', *lines[1:]], "the column 'arch_str' twice"),
        number=([*lines[:5], last_is('many'), *lines[6:]], f"line 6: 'many' {in_last}"),
        no_number=([*lines[:5], last_is('nan'), *lines[6:]], f"line 6: 'nan' {in_last}"),
        infinite=([*lines[:5], last_is('inf'), *lines[6:]], f"line 6: 'inf' {in_last}"),
        nothing=([*lines[:5], last_is(''), *lines[6:]], f"line 6: '' {in_last}"),
        cell=(
            [*lines[:5], lines[5].replace('none~0', 'nothing~0', 1), *lines[6:]],
            "line 6: cell .* node 1: unknown operation 'nothing'",
        ),
        cell_twice=(
            [*lines[:6], lines[6].replace(cell(6), cell(5)), *lines[7:]],
            f'has the cell {re.escape(repr(cell(5)))} twice',
        ),
        header=(['hello', 'world'], 'no NAS-Bench-201 table'),
        empty=([''], 'no NAS-Bench-201 table'),
    )


@pytest.mark.parametrize(
    'case',
    [
        *('short', 'long', 'fields', 'index_twice', 'index_outside', 'index_fraction'),
        *('column', 'columns', 'column_twice', 'number', 'no_number', 'infinite', 'nothing'),
        *('cell', 'cell_twice', 'header', 'empty'),
    ],
)
def test_a_wrong_table_is_one_clear_line(tmp_path, synthetic, case):
    lines, message = damaged(synthetic)[case]
    path = write(tmp_path, lines)
    with pytest.raises(UserError, match=message) as error:
        NASBench201(path)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('lacked', ['cifar100', 'imagenet16_120'])
def test_a_table_may_lack_a_data_set_but_cifar10(tmp_path, lacked):
    path = write(tmp_path, without(lacked))
    table = NASBench201(path)
    there = [name for name in ('cifar10', 'cifar100', 'imagenet16_120') if name != lacked]
    assert list(table.datasets) == there
    for name in there:
        assert table.query(9930).accuracy(name) == pytest.approx(accuracy_of(9930, name), abs=1e-4)
    record, line = table.query(9930), f'^NAS-Bench-201: table {path} lacks the data set {lacked}$'
    for call in (record.accuracy, record.macs, table.best):
        with pytest.raises(UserError, match=line):
            call(lacked)
    assert not any(lacked in name for name in record.as_dict())
    with pytest.raises(UserError, match='lacks the columns cifar10_test_12, .*flops_m_cifar10;'):
        lines = [re.sub(r'cifar10(?=[_,])', 'other', without(lacked)[0]), *without(lacked)[1:]]
        NASBench201(write(tmp_path, lines))


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
        ('|none~0|', 'has 1 node instead of 3'),
        (15625, 'index 15625 is not within 0 .. 15624'),
        (-1, 'index -1'),
        (1.5, '1.5 is no cell'),
        (float('nan'), 'nan is no cell'),
        (None, 'None is no cell'),
        ('', 'has 1 node instead of 3'),
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
        (lambda: record.accuracy('ImageNet16-120'), "did you mean 'imagenet16_120'"),
        (lambda: record.accuracy(split='validation'), "did you mean 'valid'"),
        (lambda: record.accuracy(epochs=100), 'unknown number of epochs 100: known: 12 and 200'),
        (lambda: record.accuracy(epochs='200'), "unknown number of epochs '200'"),
        (lambda: record.macs('svhn'), "unknown data set 'svhn'"),
        (lambda: record.params('svhn'), "unknown data set 'svhn'"),
        (lambda: table.column('cifar10_test'), "unknown column 'cifar10_test'"),
        (lambda: table.best('cifar10', 'train'), "unknown split 'train'"),
    ]:
        with pytest.raises(UserError, match=message):
            call()
