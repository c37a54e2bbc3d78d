"""Genotypes: JSON and the official strings both ways, and everything that is refused."""

from __future__ import annotations

import json
import os
import re

import pytest

from rdarts.errors import UserError
from rdarts.genotypes import (
    CellGenotype,
    DenseCellGenotype,
    LayerwiseGenotype,
    count_skips,
    dumps,
    from_dict,
    is_text,
    load_genotype,
    parse_genotype,
    published_names,
    short_form,
    skips_by_cell,
)
from rdarts.genotypes.cell_text import MAX_NODES
from rdarts.genotypes.reading import MAX_BYTES
from rdarts.search_spaces import build_space

NB201 = (
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|'
    '+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|'
)
NB201_OPS = ('nor_conv_3x3',) * 3 + ('skip_connect', 'nor_conv_1x1', 'nor_conv_3x3')
DARTS_V1 = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('skip_connect', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=range(2, 6))"
)
LAYERWISE = dict(
    type='LayerwiseSpace', name='row', layers=[['none', 'skip_connect'], ['nor_conv_1x1']]
)


@pytest.fixture(scope='module')
def published(data_root):
    """Genotypes as published, ``[operation, node]`` pairs, two a node."""
    return json.loads((data_root / 'genotypes.json').read_text())


def official(table, listed: bool) -> str:
    """The text of the official codes; outputs as a list or, where one, as a range."""
    parts = []
    for cell in ('normal', 'reduce'):
        pairs = [tuple(pair) for pair in table[cell]]
        concat = table[f'{cell}_concat']
        if not listed and concat == list(range(concat[0], concat[-1] + 1)):
            concat = f'range({concat[0]}, {concat[-1] + 1})'
        parts.append(f'{cell}={pairs}, {cell}_concat={concat}')
    return f'Genotype({", ".join(parts)})'


# There and back


@pytest.mark.data
@pytest.mark.parametrize('listed', [False, True])
def test_published_genotypes_as_official_strings(published, listed):
    assert len(published) == 5
    for name, table in published.items():
        genotype = parse_genotype(official(table, listed))
        for cell in ('normal', 'reduce'):
            flat = [[op, source] for edges in genotype.nodes[cell] for op, source in edges]
            assert flat == table[cell], name
            assert {len(edges) for edges in genotype.nodes[cell]} == {2}
            assert list(genotype.concat[cell]) == table[f'{cell}_concat']
        assert genotype.to_string() == official(table, listed=False)
        assert parse_genotype(dumps(genotype)) == genotype


@pytest.mark.data
def test_published_genotypes_of_the_darts_space_are_valid(published):
    for name in ('DARTS_V1', 'DARTS_V2', 'PC_DARTS_cifar'):
        genotype = load_genotype(official(published[name], listed=True))
        assert genotype.space == 'darts' and len(genotype.operations()) == 16
    assert load_genotype(official(published['DARTS_V1'], True)) == load_genotype(DARTS_V1)


@pytest.mark.data
@pytest.mark.parametrize('name', ['NASNet', 'AmoebaNet'])
def test_other_networks_do_not_fit_the_darts_space(published, name):
    with pytest.raises(UserError, match="cell 'normal': it has 5 nodes, but needs 4"):
        load_genotype(official(published[name], listed=True))


@pytest.mark.parametrize('operation', ['sep_conv_7x7', 'conv_7x1_1x7'])
def test_their_operations_do_not_fit_either(operation):
    text = DARTS_V1.replace("('avg_pool_3x3', 0)", f"('{operation}', 0)")
    with pytest.raises(UserError) as error:
        load_genotype(text)
    assert str(error.value).startswith(
        f"genotype, cell 'reduce': operation '{operation}' is no candidate of edge 0 -> 5: "
    )
    assert "'sep_conv_" in str(error.value) or 'known: ' in str(error.value)


def test_nas_bench_201_string():
    genotype = load_genotype(NB201)
    assert genotype == DenseCellGenotype('nas_bench_201', NB201_OPS)
    assert genotype.to_string() == NB201


GENOTYPES = {
    'darts': parse_genotype(DARTS_V1),
    'nas_bench_201': DenseCellGenotype('nas_bench_201', NB201_OPS),
    'row': LayerwiseGenotype('row', ('skip_connect', 'nor_conv_1x1')),
}


@pytest.mark.parametrize('name', list(GENOTYPES))
def test_json_goes_there_and_back(name, tmp_path):
    genotype = GENOTYPES[name]
    space = LAYERWISE if name == 'row' else name
    text = dumps(genotype)
    assert text == dumps(genotype) and json.loads(text)['space'] == name
    path = tmp_path / 'genotype.json'
    path.write_text(text)
    for source in (text, json.loads(text), path, str(path), genotype):
        assert load_genotype(source, space) == genotype
    if name != 'row':
        assert load_genotype(path) == genotype


def test_json_of_a_genotype_is_plain_data():
    assert GENOTYPES['nas_bench_201'].to_dict() == dict(
        space='nas_bench_201', kind='dense_cell', cell=NB201
    )
    data = GENOTYPES['darts'].to_dict()
    assert data['cells']['normal']['nodes'][0] == [['sep_conv_3x3', 1], ['sep_conv_3x3', 0]]
    assert data['cells']['reduce']['concat'] == [2, 3, 4, 5]
    assert GENOTYPES['row'].to_string() == 'skip_connect - nor_conv_1x1'


def test_one_layer_goes_through_text():
    space = dict(type='LayerwiseSpace', name='one', layers=[['nor_conv_1x1', 'nor_conv_3x3']])
    genotype = LayerwiseGenotype('one', ('nor_conv_3x3',))
    assert genotype.to_string() == 'nor_conv_3x3 -'
    assert parse_genotype(genotype.to_string(), 'one') == genotype
    assert load_genotype(genotype.to_string(), space) == genotype
    assert not is_text('nor_conv_3x3')  # a file may have that name
    for text in ('nor_conv_3x3 - ', ' nor_conv_3x3 -\n'):
        assert parse_genotype(text, 'one') == genotype
    for text in ('-', '- nor_conv_3x3', 'none - nor_conv_3x3 -', 'nor_conv_3x3 - -'):
        with pytest.raises(UserError, match='no JSON and no official string'):
            parse_genotype(text, 'one')


def test_count_skips():
    assert count_skips(GENOTYPES['darts']) == 6
    assert count_skips(GENOTYPES['nas_bench_201']) == 1
    assert count_skips(GENOTYPES['row']) == 1
    assert count_skips(DenseCellGenotype('nas_bench_201', ('skip_connect',) * 6)) == 6
    assert count_skips(DenseCellGenotype('nas_bench_201', ('none',) * 6)) == 0


# What is refused: never evaluated, always one line


def refused(source, message, space=None):
    with pytest.raises(UserError, match=message) as error:
        load_genotype(source, space)
    assert '\n' not in str(error.value)
    return str(error.value)


EXPECTED = r"expected Genotype\(normal=\[\('op', node\), ...\]"


@pytest.mark.parametrize(
    'text',
    [
        "Genotype(normal=__import__('os').mkdir('evaluated'), normal_concat=[2])",
        "Genotype(normal=[(__import__('os').mkdir('evaluated'), 0)], normal_concat=[2])",
        "Genotype(normal=[('none', 0)] * 2, normal_concat=range(2, __import__('os').getpid()))",
        "Genotype(__import__('os').mkdir('evaluated'))",
        'Genotype.__class__(normal=[], normal_concat=[2])',
        "Genotype(normal=[], normal_concat=open('evaluated', 'w'))",
        "Genotype(**{'normal': __import__('os').mkdir('evaluated')})",
        'Genotype(normal=[x for x in range(9)], normal_concat=[2])',
        'Genotype(normal=(lambda: 0)(), normal_concat=[2])',
        'Genotype_(normal=[], normal_concat=[2])',
        "Genotype(normal=[('none', 0)], normal_concat=range(2, 6)); import os",
        'Genotype',
        'Genotype(',
        'Genotype()',
        "Genotype(normal=[('none', 0), ('none', 1)])",
        "Genotype(normal=[('none', 0, 1)] * 2, normal_concat=[2])",
        "Genotype(normal=[('none',), ('none', 1)], normal_concat=[2])",
        'Genotype(normal=3, normal_concat=[2])',
        "Genotype(normal=[('none', 0), ('none', 1)], normal_concat=2)",
    ],
)
def test_code_is_never_evaluated(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(text, EXPECTED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'bounds',
    ['0, 10**9', '2, 999999999999', '0, 1e9', '6, 2', '-4, 6', 'True, 6', '6', '2, 6, 2', "'2', 6"],
)
def test_a_range_is_small_or_refused(bounds):
    text = f"Genotype(normal=[('none', 0), ('none', 1)], normal_concat=range({bounds}))"
    with pytest.raises(UserError, match='genotype'):
        parse_genotype(text)


def test_the_largest_range():
    text = "Genotype(a=[('x', 0), ('x', 1)], a_concat=range(0, {}))"
    assert len(parse_genotype(text.format(MAX_NODES)).concat['a']) == 1000
    with pytest.raises(UserError, match=EXPECTED):
        parse_genotype(text.format(MAX_NODES + 1))


@pytest.mark.parametrize(
    'value', ['-' * 50_000 + '1', '[' * 50_000, '(' * 150 + '1' + ')' * 150, '1' + '+1' * 50_000]
)
def test_deep_nesting_is_no_crash(value):
    refused(f'Genotype(normal={value}, normal_concat=[2])', EXPECTED)


def test_deep_json_is_no_crash():
    refused('{"space":' + '[' * 200_000, 'genotype: this is no JSON and no official string')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("Genotype(normal=[(3, 0), ('none', 1)], normal_concat=[2])", 'must be a name, but is 3'),
        ("Genotype(normal=[('none', '0'), ('none', 1)], normal_concat=[2])", "integer, but is '0'"),
        ("Genotype(normal=[('none', True), ('none', 1)], normal_concat=[2])", 'but is True'),
        ("Genotype(normal=[('none', 0)], normal_concat=[2])", 'two edges a node, but it has 1 ed'),
        ("Genotype(normal=[('none', 0), ('none', 1)], normal_concat=['2'])", "but is '2'"),
    ],
)
def test_wrong_pairs(text, message):
    refused(text, message)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("(normal=[('sep_conv_3x3'", "(normal=[('sep_conv3x3'", "'sep_conv3x3' is no candidate "
         "of edge 1 -> 2: did you mean 'sep_conv_3x3'"),
        ("('skip_connect', 2)], n", "('skip_connect', 5)], n", r'node 5 cannot read node 5; it '
         r'reads \[0, 1, 2, 3, 4\]'),
        ("('skip_connect', 2)], n", "('skip_connect', -1)], n", 'node 5 cannot read node -1'),
        ('range(2, 6), r', 'range(2, 7), r', "cell 'normal': output node 6 is not one of 2 to 5"),
        ('range(2, 6), r', '[0, 2], r', "cell 'normal': output node 0 is not one of 2 to 5"),
        ('range(2, 6), r', '[], r', "cell 'normal': the output must be nodes, each once"),
        ('range(2, 6), r', '[2, 2], r', "the output must be nodes, each once, but is .2, 2."),
        (', reduce=', ', reduced=', EXPECTED),
        ('reduce', 'other', r"it has the cells \['normal', 'other'\], but space 'darts' has"),
    ],
)  # fmt: skip
def test_a_genotype_that_does_not_fit_darts(old, new, message):
    assert DARTS_V1.count(old) == 1 or old == 'reduce'
    refused(DARTS_V1.replace(old, new), message)


def test_a_node_may_have_any_number_of_edges():
    """As FairDARTS's threshold gives them; its texts say the node of each."""
    data = GENOTYPES['darts'].to_dict()
    data['cells']['normal']['nodes'][1] = []
    data['cells']['normal']['nodes'][2] = [['sep_conv_3x3', 0], ['skip_connect', 0]]
    found = load_genotype(data)
    assert found.nodes['normal'][1] == ()
    text = found.to_string()
    assert "('sep_conv_3x3', 4, 0), ('skip_connect', 4, 0)" in text
    assert load_genotype(text, 'darts') == found
    refused(text.replace("('skip_connect', 4, 0)", "('skip_connect', 9, 0)"), 'leads to node 9')
    refused(text.replace("('skip_connect', 4, 0)", "('sep_conv_3x3', 4, 0)"), 'by the same operat')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('|none~0|', 'it has 1 edge, but the cell of .* has 6'),
        (
            NB201.replace('nor_conv_1x1', 'nor_conv_1'),
            "'nor_conv_1' is no candidate of edge 1 -> 3",
        ),
        (NB201.replace('~2', '~1'), r"node 3 needs op~2 where it has 'nor_conv_3x3~1'"),
        (NB201.replace('~2', ''), 'node 3 needs op~2'),
        (NB201.replace('skip_connect~0', '~0'), 'node 3 needs op~0'),
        (NB201[:-1], r'node 3 must read \|op~0\|...\|op~2\|'),
        (NB201.replace('+', ''), r'node 1 must read \|op~0\|...\|op~0\|'),
        ('|', 'node 1 must read'),
        ('||', "node 1 needs op~0 where it has ''"),
    ],
)
def test_a_wrong_nas_bench_201_string(text, message):
    refused(text, message)


BEFORE = (
    'genotype = ', 'DARTS_V1=', 'genotypes.', 'best = rdarts.genotypes.', '>>> ',
    '2019-05-01 10:00:00,123 genotype = ', '05/01 10:00:00 PM ', "'", 'Genotype of epoch 3: ',
    '2026/01/01 10:00:00 - mmengine - INFO - Genotype: ',
)  # fmt: skip


@pytest.mark.parametrize('before', BEFORE)
def test_what_stands_before_a_copied_genotype_is_left_out(before, tmp_path):
    after = "'" if before == "'" else ' (3 skip connections)' if 'epoch' in before else '\n'
    for text, whole in ((DARTS_V1, GENOTYPES['darts']), (NB201, GENOTYPES['nas_bench_201'])):
        copied = f'{before}{text}{after}'
        assert load_genotype(copied) == load_genotype(text)
        assert load_genotype(text).space == whole.space
        path = tmp_path / 'copied.txt'
        path.write_text(copied)
        assert load_genotype(path) == load_genotype(text)


def test_numbers_and_lists_as_others_print_them():
    for old, new in (
        ('range(2, 6)', 'list(range(2, 6))'),
        ('range(2, 6)', 'tuple(range(2, 6))'),
        ('range(2, 6)', '[np.int64(2), numpy.int32(3), np.int_(4), 5]'),
        (', 0)', ', np.int64(0))'),
        ("'sep_conv_3x3'", "np.str_('sep_conv_3x3')"),
    ):
        assert old in DARTS_V1
        assert load_genotype(DARTS_V1.replace(old, new)) == load_genotype(DARTS_V1)


@pytest.mark.parametrize(
    'text',
    [
        f"'{NB201}'", f'"{NB201}",', NB201.replace('|', ' | '), NB201.replace('+', ' + \n'),
        NB201.replace('~', ' ~ '), f'`{NB201}`',
    ],
)  # fmt: skip
def test_a_nas_bench_201_string_with_spaces_or_quotes(text):
    assert load_genotype(text) == load_genotype(NB201)


def test_of_several_genotypes_none_is_taken():
    refused(f'A = {DARTS_V1}\nB = {DARTS_V1}', 'the text holds 2 genotypes: give one of them')
    refused(f'{NB201}\n{NB201}', 'the text holds 2 genotypes')


@pytest.mark.parametrize(
    'value',
    [
        "np.load('evaluated')", "numpy.int64(open('evaluated', 'w'))", 'list(open)', 'np.int64()',
        "list('abc')", 'list(range(0, 10**9))', 'list(range(0, 999999))', 'os.int64(3)',
        'np.int64(x=3)', 'np.int64.__class__(3)',
    ],
)  # fmt: skip
def test_other_calls_are_no_data(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"x = Genotype(normal=[('none', 0), ('none', 1)], normal_concat={value})"
    refused(text, EXPECTED)
    assert list(tmp_path.iterdir()) == []


def test_what_is_neither_file_nor_genotype():
    refused('x' * 5000, r'expected a file, Genotype\(normal=')
    refused("Genotype(normal=[('" + 'x' * MAX_BYTES, 'longer than 4,194,304 characters')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no named pipes')
def test_only_regular_files_are_read(tmp_path):
    """A named pipe would be waited for, and a device has no end."""
    os.mkfifo(tmp_path / 'genotype.json')
    refused(tmp_path / 'genotype.json', 'cannot read the genotype .*: not a regular file')
    refused('/dev/zero', 'cannot read the genotype /dev/zero: not a regular file')
    refused(tmp_path, 'holds no genotype.json')
    (tmp_path / 'large.json').write_bytes(b' ' * (MAX_BYTES + 1))
    refused(tmp_path / 'large.json', 'larger than 4,194,304 bytes')


def test_another_space():
    refused(NB201, "is of the space 'darts'|no candidate|kind 'dense_cell'", 'darts')
    text = dumps(GENOTYPES['nas_bench_201'])
    message = refused(text, "is of the space 'nas_bench_201', but 'darts' is needed", 'darts')
    assert 'search in that space' in message
    refused(dumps(GENOTYPES['darts']), "of the space 'darts', but 's1' is needed", 's1')
    # An official string carries no space; edges tell.
    refused(DARTS_V1, "'sep_conv_3x3' is no candidate of edge 1 -> 2", 's1')
    refused(dumps(GENOTYPES['row']), "unknown search space 'row': .*must be given as a table")
    assert load_genotype(dumps(GENOTYPES['row']), LAYERWISE).layers[0] == 'skip_connect'


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (dict(space='darts', kind='dense_cell', cell='|none~0|'), "kind 'dense_cell', but"),
        (
            dict(
                space='nas_bench_201',
                kind='cell',
                cells=dict(cell=dict(nodes=[[['none', 0]]] * 3, concat=[3])),
            ),
            "of kind 'cell', but those of the space 'nas_bench_201' are of kind 'dense_cell'",
        ),
        (dict(space='darts', kind='layerwise', layers=['none']), "kind 'layerwise', but"),
        (
            dict(space='darts', kind='tree'),
            r"must be an object with 'space'.*\(cell, dense_cell",
        ),
        (dict(space='darts', kind=[]), "must be an object with 'space'"),
        (dict(space='darts'), "must be an object with 'space'"),
        (dict(kind='layerwise', layers=[]), "must be an object with 'space'"),
        (dict(space=3, kind='layerwise', layers=[]), "must be an object with 'space'"),
        (dict(space='darts', kind='cell'), "no valid JSON of kind 'cell'"),
        (dict(space='darts', kind='cell', cells=[]), "no valid JSON of kind 'cell'"),
        (dict(space='darts', kind='cell', cells=dict(normal=3)), "no valid JSON of kind 'cell'"),
        (
            dict(space='darts', kind='cell', cells=dict(a=dict(nodes=[[['x']]], concat=[]))),
            "no valid JSON of kind 'cell'",
        ),
        (
            dict(space='darts', kind='cell', cells=dict(a=dict(nodes=[['ab']], concat=[]))),
            "a node must be an integer, but is 'b'",
        ),
        (dict(space='nas_bench_201', kind='dense_cell', cell=3), 'must be a name, but is 3'),
        (dict(space='row', kind='layerwise', layers=[1]), 'an operation must be a name, but is 1'),
        (dict(space='row', kind='layerwise', layers=3), "no valid JSON of kind 'layerwise'"),
    ],
)
def test_wrong_json(data, message):
    refused(data, message)
    refused(json.dumps(data), message)


def test_wrong_layers():
    good = dict(space='row', kind='layerwise', layers=['none', 'nor_conv_1x1'])
    assert load_genotype(good, LAYERWISE).layers == ('none', 'nor_conv_1x1')
    refused(dict(good, layers=['none']), "it has 1 layer, but space 'row' has 2", LAYERWISE)
    refused(
        dict(good, layers=['none', 'none']),
        "'none' is no candidate of edge 1 -> 2: known: nor_conv_1x1",
        LAYERWISE,
    )


@pytest.mark.parametrize(
    'space',
    [
        'os.getpid',
        'subprocess.Popen',
        'rdarts.genotypes.dumps',
        dict(type='subprocess.check_call', args=['mkdir', 'evaluated']),
        dict(type='os.mkdir', path='evaluated'),
        dict(type='darts'),
        None,
        ['darts'],
    ],
)
def test_the_space_of_a_file_cannot_call_anything(space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = dict(space=space, kind='layerwise', layers=[])
    refused(data, "unknown search space|must be an object with 'space', a name")
    with pytest.raises(UserError):
        load_genotype(data, 'darts')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'this is no JSON'),
        (b'{"space": "darts", ', 'this is no JSON'),
        (b'[1, 2]', "must be an object with 'space'"),
        (b'null', "must be an object with 'space'"),
        (b'\x80\x04\x95\xff\xfe', 'not a text file'),
        (b'Genotype(normal=3)', EXPECTED),
        (b'|none~1|', 'node 1 needs op~0'),
        (b'1' * 10_000, 'this is no JSON|must be an object'),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, message):
    path = tmp_path / 'found.json'
    path.write_bytes(content)
    line = refused(path, message)
    assert str(path) in line


def test_files_that_cannot_be_read(tmp_path):
    refused(tmp_path / 'gone.json', 'cannot read the genotype .*gone.json: No such file')
    refused(tmp_path, 'holds no genotype.json: give the work directory of a search')
    (tmp_path / 'genotypes').mkdir()
    refused(tmp_path, 'no search has ended there; those of single epochs are in .*genotypes')
    refused('a\0b', 'cannot read the genotype')
    refused(None, 'or the name of a published genotype, but it is None')
    refused(3, 'but it is 3')


def test_a_file_may_hold_an_official_string(tmp_path):
    path = tmp_path / 'cell.txt'
    path.write_text(f'\n  {NB201}\n')
    assert load_genotype(path).ops == NB201_OPS
    path.write_text(DARTS_V1 + '\n')
    for space in ('darts', 'rdarts.darts', dict(type='darts')):
        assert load_genotype(path, space) == GENOTYPES['darts']


def test_a_cell_genotype_with_any_number_of_edges_a_node():
    table = dict(
        type='CellSpace',
        name='mine',
        cells=dict(only=dict(num_nodes=3, candidates=['none', 'skip_connect'])),
    )
    nodes = ((('none', 0),), (('skip_connect', 0), ('none', 1)))
    genotype = CellGenotype('mine', {'only': nodes}, {'only': (2,)})
    assert genotype.validate(table) is genotype
    assert from_dict(json.loads(dumps(genotype))) == genotype
    assert re.fullmatch(r'Genotype\(only=\[.*\], only_concat=range\(2, 3\)\)', genotype.to_string())


# Published genotypes, and those of a search's folder


@pytest.mark.data
def test_the_published_genotypes_are_those_of_the_data(data_root):
    published = json.loads((data_root / 'genotypes.json').read_text())
    assert sorted(published) == published_names()
    for name, table in published.items():
        genotype = load_genotype(name)
        assert genotype.space == ('nasnet' if name in ('NASNet', 'AmoebaNet') else 'darts')
        for cell in ('normal', 'reduce'):
            pairs = [list(edge) for edges in genotype.nodes[cell] for edge in edges]
            assert pairs == table[cell]
            assert list(genotype.concat[cell]) == table[f'{cell}_concat']


def test_published_names():
    assert load_genotype('DARTS_V2').to_string().startswith("Genotype(normal=[('sep_conv_3x3', 0)")
    assert load_genotype('DARTS_V2', 'darts') == load_genotype('DARTS_V2')
    refused('DARTS_V3', "no published one and no file is named 'DARTS_V3': did you mean 'DARTS_V")
    with pytest.raises(UserError, match="is of the space 'nasnet', but 'darts' is needed"):
        load_genotype('NASNet', 'darts')


def test_only_in_some_spaces_a_node_may_read_one_node_twice():
    data = load_genotype('NASNet').to_dict()
    assert load_genotype(data) == load_genotype('NASNet')
    data = load_genotype('DARTS_V2').to_dict()
    data['cells']['normal']['nodes'][0] = [['skip_connect', 0], ['skip_connect', 0]]
    refused(data, "cell 'normal': node 2 reads one node twice by the same operation")


def test_a_work_directory_stands_for_its_genotype(tmp_path):
    genotype = load_genotype(NB201)
    (tmp_path / 'genotype.json').write_text(dumps(genotype))
    assert load_genotype(tmp_path) == genotype
    assert load_genotype(str(tmp_path)) == genotype


@pytest.mark.parametrize(
    ('space', 'genotype', 'skips'),
    [
        ('nas_bench_201', NB201, {'cell': 1}),
        ('darts', 'DARTS_V1', {'normal': 3, 'reduce': 3}),
        (
            'mobilenet_like',
            LayerwiseGenotype('mobilenet_like', ('skip_connect',) * 2),
            {'layerwise': 2},
        ),
    ],
)
def test_skips_are_counted_by_the_spaces_cell_types(space, genotype, skips):
    if isinstance(genotype, str):
        genotype = load_genotype(genotype, build_space(space))
    assert skips_by_cell(genotype) == skips
    assert set(skips) == set(build_space(space).cells)


def test_a_short_form_for_the_log():
    assert short_form(load_genotype('DARTS_V2')) == (
        'normal: 5 sep_conv_3x3, 2 skip_connect, 1 dil_conv_3x3; '
        'reduce: 5 max_pool_3x3, 3 skip_connect'
    )
    layers = ' - '.join(['mbconv_k3_e3'] * 4 + ['skip_connect'] * 17)
    genotype = parse_genotype(layers, 'mobilenet_like')
    assert short_form(genotype) == '17 skip_connect, 4 mbconv_k3_e3'
    text = '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|'
    assert short_form(parse_genotype(text)) == text
