"""tools/analysis/draw_genotype.py: where it writes, and its errors."""

from __future__ import annotations

from synthetic import write_search

from rdarts.genotypes import LayerwiseGenotype, dumps, load_genotype

TOOL = 'analysis/draw_genotype'
CELL = '|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'


def test_a_work_directory(tool, tmp_path):
    folder = tmp_path / 'search.1'
    folder.mkdir()
    (folder / 'genotype.json').write_text(dumps(load_genotype(CELL)))
    expected = [str(folder / 'genotype.svg'), str(folder / 'genotype.png')]
    assert tool(TOOL, folder) == (0, expected, '')
    assert (folder / 'genotype.svg').read_bytes().startswith(b'<?xml')
    assert (folder / 'genotype.png').read_bytes().startswith(b'\x89PNG')


def test_a_file_an_official_string_and_a_name_of_ones_own(tool, tmp_path):
    (tmp_path / 'layerwise.json').write_text(
        dumps(LayerwiseGenotype('own', ('mine', 'skip_connect')))
    )
    assert tool(TOOL, 'layerwise.json') == (0, ['layerwise.svg', 'layerwise.png'], '')
    assert '>mine<' in (tmp_path / 'layerwise.svg').read_text()
    assert tool(TOOL, CELL) == (0, ['genotype.svg', 'genotype.png'], '')
    assert tool(TOOL, CELL, '--out', 'x.pdf') == (0, ['x.pdf'], '')
    assert (tmp_path / 'x.pdf').read_bytes().startswith(b'%PDF-')


def test_errors_are_one_line(tool, tmp_path):
    for args, message in (
        ([tmp_path], f'error: {tmp_path} holds no genotype.json: give the work dir'),
        (['missing.json'], 'error: cannot read the genotype missing.json: No such file'),
        ([CELL, '--out', 'x.gif'], 'error: x.gif: a picture ends in'),
        (['|nor_conv_3x3~0|'], 'error: genotype: it has 1 edge, but the cell'),
        (['Genotype(__import__)'], "error: genotype 'Genotype(__import__)': expected"),
    ):
        code, out, err = tool(TOOL, *args)
        assert (code, out) == (2, [])
        assert err.startswith(message) and err.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_the_epochs_of_a_search(tool, tmp_path):
    write_search(tmp_path / 'run', epochs=2)
    assert tool(TOOL, 'run', '--epochs') == (0, ['run/epochs.svg'], '')
    assert (tmp_path / 'run' / 'epochs.svg').read_text().count('@keyframes') == 2
    code, out, err = tool(TOOL, CELL, '--epochs', '--out', 'x.svg')
    assert (code, out) == (2, []) and err.startswith('error: no search_log.jsonl in ')
