"""Drawings of genotypes: what is in them, where it is, and that it is always the same."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, LayerwiseGenotype, dumps, load_genotype
from rdarts.visualization.drawing.layout import lay_out, load_drawable
from rdarts.visualization.drawing.matplotlib import draw_genotype
from rdarts.visualization.drawing.page import NODE_HEIGHT, PILL_HEIGHT
from rdarts.visualization.drawing.svg import page_as_data
from rdarts.visualization.drawing.svg_text import svg_text

NB201 = '|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'
DARTS = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
LAYERWISE = LayerwiseGenotype('own', ('nor_conv_3x3', 'none', 'skip_connect') * 5)


def svg(genotype, path):
    """The texts and the ids of a drawing."""
    draw_genotype(genotype, path)
    root = ElementTree.parse(path).getroot()
    texts = [''.join(item.itertext()).strip() for item in root.iter() if item.tag.endswith('text')]
    return texts, {item.get('id') for item in root.iter() if item.get('id')}


def edges(ids):
    return {name for name in ids if '-edge-' in name}


def test_a_nas_bench_201_cell(tmp_path):
    texts, ids = svg(load_genotype(NB201), tmp_path / 'cell.svg')
    assert edges(ids) == {f'cell-edge-{pair}' for pair in ('0-1', '0-2', '0-3', '1-3', '2-3')}
    operations = ['nor_conv_3x3'] * 2 + ['nor_conv_1x1', 'skip_connect', 'avg_pool_3x3']
    assert sorted(text for text in texts if '_' in text) == sorted(operations)
    assert {'in 0', '1', '2', 'out 3', 'convolution', 'parameter-free'} <= set(texts)
    assert 'none, not drawn: 1 → 2' in texts
    assert 'concat' not in texts


def test_both_cells_of_darts(tmp_path):
    texts, ids = svg(load_genotype(DARTS), tmp_path / 'cells.svg')
    normal = ('0-2', '1-2', '0-3', '1-3', '1-4', '0-4', '0-5', '2-5')
    reduce = ('0-2', '1-2', '2-3', '1-3', '0-4', '2-4', '2-5', '1-5')
    expected = {f'normal-edge-{pair}' for pair in normal}
    assert edges(ids) == expected | {f'reduce-edge-{pair}' for pair in reduce}
    assert {f'{c}-concat-{n}' for c in ('normal', 'reduce') for n in range(2, 6)} <= ids
    assert texts.count('sep_conv_3x3') == 5 and texts.count('max_pool_3x3') == 5
    assert texts.count('skip_connect') == 5 and texts.count('dil_conv_3x3') == 1
    assert {'normal cell', 'reduce cell', 'in 0', 'in 1', '5', 'out'} <= set(texts)


def test_layers_are_drawn_in_rows(tmp_path):
    texts, ids = svg(LAYERWISE, tmp_path / 'layerwise.svg')
    assert edges(ids) == {f'layerwise-edge-{i}-{i + 1}' for i in range(15)}
    assert texts.count('none') == 5 + 1  # the legend's
    draw_genotype(LAYERWISE, tmp_path / 'layerwise.png')
    header = (tmp_path / 'layerwise.png').read_bytes()
    width, height = (int.from_bytes(header[i : i + 4], 'big') for i in (16, 20))
    assert width < 10 * 150 and height > 300


def test_a_cell_of_an_own_space(tmp_path):
    """Without its table, the numbers of the nodes follow from the output."""
    nodes = ((('skip_connect', 0), ('mine', 2)), (('none', 3), ('sep_conv_5x5', 1)))
    texts, ids = svg(CellGenotype('own', {'a': nodes}, {'a': (4,)}), tmp_path / 'own.svg')
    assert edges(ids) == {'a-edge-0-3', 'a-edge-2-3', 'a-edge-1-4'}
    assert {'in 0', 'in 1', 'in 2', '3', 'out 4', 'mine'} <= set(texts)


def test_a_name_is_never_taken_for_a_formula(tmp_path):
    texts, _ = svg(LayerwiseGenotype('own', (r'$\frac{$',)), tmp_path / 'layerwise.svg')
    assert r'$\frac{$' in texts


def test_every_edge_may_be_none(tmp_path):
    texts, ids = svg(load_genotype(re.sub(r'\w+~', 'none~', NB201)), tmp_path / 'cell.svg')
    assert edges(ids) == set()
    assert 'convolution' not in texts
    assert any(text.endswith('; zero, as nothing leads there: 1, 2, 3') for text in texts)


def test_nodes_without_an_input_are_dashed_and_named(tmp_path):
    """FairDARTS keeps what reaches a threshold, which may be nothing."""
    nodes = ((), (('skip_connect', 0),), (), (('sep_conv_3x3', 4), ('skip_connect', 1)))
    concat = (2, 3, 4, 5)
    genotype = CellGenotype('darts', dict(normal=nodes, reduce=((),) * 4),
                            dict(normal=concat, reduce=concat))  # fmt: skip
    path = tmp_path / 'cells.svg'
    texts, ids = svg(genotype, path)
    assert edges(ids) == {f'normal-edge-{pair}' for pair in ('0-3', '4-5', '1-5')}
    assert {f'zero, as nothing leads there: {n}' for n in ('2, 4', '2, 3, 4, 5')} <= set(texts)
    dashed = {
        f'{cell}-node-{node}'
        for cell in ('normal', 'reduce')
        for node in range(6)
        if 'stroke-dasharray' in re.search(rf'id="{cell}-node-{node}">(.*?)</g>', path.read_text(),
                                           re.DOTALL)[1]
    }  # fmt: skip
    assert dashed == {f'normal-node-{n}' for n in (2, 4)} | {
        f'reduce-node-{n}' for n in range(2, 6)
    }
    boxes = [box for box in page_as_data(lay_out(genotype))['boxes'] if box[-1]]
    assert [box[3] for box in boxes] == ['2', '4', '2', '3', '4', '5']


def test_two_operations_between_two_nodes(tmp_path):
    """Each has a line, a label and an id of its own."""
    nodes = ((('a', 0), ('b', 0)), (('a', 1), ('b', 1), ('c', 1), ('d', 0), ('e', 0)))
    texts, ids = svg(CellGenotype('own', {'x': nodes}, {'x': (2,)}), tmp_path / 'cell.svg')
    assert edges(ids) == {
        'x-edge-0-1', 'x-edge-0-1-2', 'x-edge-1-2', 'x-edge-1-2-2', 'x-edge-1-2-3', 'x-edge-0-2',
        'x-edge-0-2-2',
    }  # fmt: skip
    assert sorted(text for text in texts if text in 'abcde') == list('aabbcde')


def test_every_edge_of_a_darts_cell(tmp_path):
    """As SNAS keeps them."""
    nodes = tuple(tuple(('sep_conv_3x3', i) for i in range(n)) for n in range(2, 6))
    concat = tuple(range(2, 6))
    genotype = CellGenotype('darts', dict(normal=nodes, reduce=nodes),
                            dict(normal=concat, reduce=concat))  # fmt: skip
    texts, ids = svg(genotype, tmp_path / 'cells.svg')
    assert len(edges(ids)) == 28 and texts.count('sep_conv_3x3') == 28


def test_labels_have_room_for_the_weights_of_edges():
    genotype = load_genotype(DARTS)
    plain, weighted = page_as_data(lay_out(genotype)), page_as_data(lay_out(genotype, None, True))
    for kind, places in (('lines', 4), ('labels', 7)):
        assert {len(item) for item in plain[kind]} == {places}
        found = [item[places:] for item in weighted[kind] if len(item) > places]
        assert len(found) == 16 and [('reduce', '2 → 5')] in found  # not of the concatenation
        assert len(weighted[kind]) == len(plain[kind])
    for (_, _, before, text, *_), (_, _, after, other, *_) in zip(
        plain['labels'], weighted['labels'], strict=True
    ):
        assert text == other
        assert after == before if text == 'concat' else 0.2 < after - before < 0.4


def colours(path):
    return set(re.findall(r'stroke: (#\w{6})', path.read_text()))


def test_colours_tell_the_kinds_apart(tmp_path):
    for name, operation in (('conv', 'nor_conv_3x3'), ('free', 'skip_connect')):
        draw_genotype(LayerwiseGenotype('own', (operation,)), tmp_path / f'{name}.svg')
    conv, free = colours(tmp_path / 'conv.svg'), colours(tmp_path / 'free.svg')
    assert '#0072b2' in conv - free and '#c77d00' in free - conv
    assert 'stroke-dasharray' in (tmp_path / 'free.svg').read_text()
    assert 'stroke-dasharray' not in (tmp_path / 'conv.svg').read_text()


@pytest.mark.parametrize(
    ('suffix', 'start'), [('png', b'\x89PNG\r\n'), ('svg', b'<?xml'), ('pdf', b'%PDF-')]
)
def test_the_same_bytes_every_time(tmp_path, suffix, start):
    paths = [tmp_path / f'{i}.{suffix}' for i in range(2)]
    draw_genotype(load_genotype(DARTS), paths[0])
    with matplotlib.rc_context({'font.size': 20, 'savefig.facecolor': 'red', 'path.sketch': None}):
        draw_genotype(load_genotype(DARTS), paths[1])
    data = paths[0].read_bytes()
    assert data.startswith(start)
    assert data == paths[1].read_bytes()
    assert b'<dc:date>' not in data and b'CreationDate' not in data


def random_cell(rng):
    """Nodes may have no input; several operations may lead from one node to another."""
    num_inputs, count = rng.randint(1, 3), rng.randint(1, 6)
    operations = ['none', 'skip_connect', 'sep_conv_3x3', 'x', 'a_very_long_operation_name']
    nodes = []
    for target in range(num_inputs, num_inputs + count):
        sources = rng.sample(range(target), rng.randint(rng.random() > 0.1, target))
        names = {source: rng.choice((1, 1, 1, 2, 3)) for source in sources}
        nodes.append(tuple((name, source) for source, count in names.items()
                           for name in rng.sample(operations, count)))  # fmt: skip
    inner = range(num_inputs, num_inputs + count)
    concat = tuple(inner) if rng.random() < 0.5 else (inner[-1],)
    return CellGenotype('own', {'cell': tuple(nodes)}, {'cell': concat})


def rectangles(panel):
    """Left, right, bottom, top of every label and node."""
    shapes = [(p.x, p.y, p.width, PILL_HEIGHT) for p in panel.labels]
    shapes += [(b.x, b.y, b.width, NODE_HEIGHT) for b in panel.boxes]
    return [(x - w / 2, x + w / 2, y - h / 2, y + h / 2) for x, y, w, h in shapes]


def overlap(one, two):
    return one[0] < two[1] and two[0] < one[1] and one[2] < two[3] and two[2] < one[3]


@pytest.mark.parametrize('seed', range(60))
def test_no_label_is_covered(seed):
    """By no other label and no node, and no vertical line runs through one."""
    weighted = seed % 2 == 1
    [(panel, _, _)] = lay_out(random_cell(random.Random(seed)), weighted=weighted).panels
    shapes = rectangles(panel)
    for i, shape in enumerate(shapes):
        assert not any(overlap(shape, other) for other in shapes[:i])
    for line in panel.lines:
        for (ax, ay), (bx, by) in zip(line.points, line.points[1:], strict=False):
            assert ax == bx or ay == by
            if ax == bx:
                for label in shapes[: len(panel.labels)]:
                    assert not overlap(label, (ax, bx + 1e-9, min(ay, by), max(ay, by)))


@pytest.mark.parametrize('seed', range(60))
def test_no_two_edges_share_a_piece_of_line(seed):
    [(panel, _, _)] = lay_out(random_cell(random.Random(seed))).panels
    pieces = [
        (line.gid, start, end)
        for line in panel.lines
        if '-edge-' in line.gid
        for start, end in zip(line.points, line.points[1:], strict=False)
    ]
    for i, (gid, (ax, ay), (bx, by)) in enumerate(pieces):
        for other, (cx, cy), (dx, dy) in pieces[:i]:
            if gid == other:
                continue
            if ax == bx == cx == dx:
                assert max(ay, by) <= min(cy, dy) or max(cy, dy) <= min(ay, by), (gid, other)
            if ay == by == cy == dy:
                assert max(ax, bx) <= min(cx, dx) or max(cx, dx) <= min(ax, bx), (gid, other)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('cell.jpg', "a picture ends in .svg, .png or .pdf, not '.jpg'"),
        ('cell.pngg', "did you mean '.png'"),
        ('cell', 'but it has none'),
        ('missing/cell.svg', 'cannot write .*missing.*No such file'),
    ],
)
def test_a_picture_that_cannot_be_written(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        draw_genotype(load_genotype(NB201), tmp_path / name)


def test_a_picture_with_too_many_pixels(tmp_path):
    nodes = tuple(((('nor_conv_3x3'), i),) for i in range(300))
    genotype = CellGenotype('own', {'cell': nodes}, {'cell': (300,)})
    with pytest.raises(UserError, match='too large for a .png'):
        draw_genotype(genotype, tmp_path / 'cell.png')


@pytest.mark.parametrize(
    ('nodes', 'concat', 'message'),
    [
        (((('x', 3),),), (1,), 'edge 3 -> 1 does not lead from an earlier node'),
        (((('x', -1),),), (1,), 'edge -1 -> 1 does not lead'),
        (((('x', 0),),), (), 'nodes and output do not fit'),
        (((('x', 0),),), (0,), 'nodes and output do not fit'),
        ((), (1,), 'nodes and output do not fit'),
        (((('x', 0),),), (-1, 1), 'nodes and output do not fit'),
    ],
)
def test_a_genotype_that_is_no_cell(tmp_path, nodes, concat, message):
    with pytest.raises(UserError, match=message):
        draw_genotype(CellGenotype('own', {'cell': nodes}, {'cell': concat}), tmp_path / 'c.svg')


def test_reading_what_is_drawn(tmp_path):
    genotype = load_genotype(NB201)
    (tmp_path / 'genotype.json').write_text(dumps(genotype))
    (tmp_path / 'layerwise.json').write_text(dumps(LAYERWISE))
    (tmp_path / 'text').write_text(DARTS)
    assert load_drawable(NB201) == load_drawable(tmp_path) == genotype
    assert load_drawable(str(tmp_path / 'genotype.json')) == genotype
    assert load_drawable(tmp_path / 'layerwise.json') == LAYERWISE
    assert load_drawable(tmp_path / 'text') == load_genotype(DARTS)


def test_reading_what_cannot_be_drawn(tmp_path):
    with pytest.raises(UserError, match='holds no genotype.json: give the work directory of a s'):
        load_drawable(tmp_path)
    with pytest.raises(UserError, match='cannot read the genotype .*missing.json: No such file'):
        load_drawable(tmp_path / 'missing.json')
    with pytest.raises(UserError, match='genotype .x{60}.*: expected a file, Genotype'):
        load_drawable('x' * 5000)
    (tmp_path / 'bytes').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='not a text file'):
        load_drawable(tmp_path / 'bytes')
    (tmp_path / 'bad.json').write_text('{"space": 1}')
    with pytest.raises(UserError, match='bad.json: genotype: the JSON must be an object'):
        load_drawable(tmp_path / 'bad.json')
    (tmp_path / 'wrong.json').write_text(dumps(load_genotype(NB201)).replace('1x1', '9x9'))
    with pytest.raises(UserError, match="wrong.json: genotype, cell 'cell': .*nor_conv_9x9"):
        load_drawable(tmp_path / 'wrong.json')


def test_an_svg_without_matplotlib_shows_the_same_cell(tmp_path):
    """The texts of both, at the same places."""

    def placed(text):
        root = ElementTree.fromstring(text)
        return root, [item.text for item in root.iter() if item.tag.endswith('text')]

    for source in (NB201, DARTS):
        genotype = load_genotype(source)
        expected, _ = svg(genotype, tmp_path / 'cell.svg')
        page = lay_out(genotype)
        root, found = placed(svg_text(page))
        assert sorted(found) == sorted(expected)
        assert float(root.get('width')) == round(96 * page.width)
        heads = [item for item in root.iter() if item.get('d', '').endswith('Z')]
        assert len(heads) == sum(len(panel.lines) for panel, *_ in page.panels)
    assert '&lt;x&gt;' in svg_text(lay_out(LayerwiseGenotype('own', ('<x>',))))
