"""The pages of methods and spaces: made of methods.yml, overlays, docstrings and drawings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from rdarts.configuration.composition import FIRST, overlays, spaces_and_data
from rdarts.genotypes import Genotype, read_genotype
from rdarts.registry import GENOTYPE_FORMS, SEARCH_SPACES
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.visualization.drawing.layout import lay_out
from rdarts.visualization.drawing.svg_text import svg_text

HERE = Path(__file__).resolve().parent
SEARCH = HERE.parents[1] / 'configs' / 'search'
PUBLISHED = {'darts': 'DARTS_V2', 'nasnet': 'NASNet'}
COMPONENT = re.compile(r"'rdarts\.(\w+)'")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to the navigation."""
    for section in config.nav:
        if 'Methods' in section:
            section['Methods'] += [{name: f'methods/{name}.md'} for name in sorted(methods())]
        if 'Spaces' in section:
            section['Spaces'] += [{name: f'spaces/{name}.md'} for name in spaces()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, in memory."""
    for uri, content in pages():
        files.append(File.generated(config, uri, content=content))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Paths in the site, and their text."""
    described = yaml.safe_load((HERE / 'methods.yml').read_text(encoding='utf-8'))
    cells = yaml.safe_load((HERE / 'cells.yml').read_text(encoding='utf-8'))
    for name, overlay in methods().items():
        yield f'methods/{name}.md', _method(name, overlay, described[name], cells.get(name))
        if name in cells:
            yield f'methods/{name}.svg', _drawing(cells[name]['cell'])
    yield 'spaces/index.md', _spaces()
    for name, space in spaces().items():
        yield f'spaces/{name}.md', _space(name, space)
        yield f'spaces/{name}.svg', svg_text(lay_out(_example(name, space)[0], space))


@cache
def methods() -> dict[str, Path]:
    """The overlay of every method; of the one below all, a config that is written."""
    return {FIRST: SEARCH / f'{FIRST}_darts_c10.py', **overlays(SEARCH, 'methods')}


@cache
def _pairs() -> list[tuple[str, str]]:
    """Spaces and data, as the names of searches have them."""
    return list(spaces_and_data(SEARCH))


@cache
def spaces() -> dict[str, SearchSpace]:
    """The registered spaces that are no tables of a config's own."""
    SEARCH_SPACES.import_from_location()
    found = {}
    for name, table in SEARCH_SPACES.module_dict.items():
        try:
            table()
        except TypeError:
            continue
        found[name] = build_space(name)
    return found


def _method(name: str, overlay: Path, told: dict[str, str], cell: dict[str, str] | None) -> str:
    source = overlay.read_text(encoding='utf-8')
    text = ast.get_docstring(ast.parse(source)) or ''
    head, _, settings = text.partition('\n')
    code = source.split('"""', 2)[2].replace('  # noqa: F821', '').strip()
    lines = [
        f'# {name}',
        '',
        f'*{_markdown(head)}*',
        '',
        told['idea'],
        '',
        f'$$\n{told["equation"]}\n$$',
        '',
        '## Start it',
        '',
        _table_of_searches(name, source),
        '',
        '## Config',
        '',
        _markdown(settings.strip()),
        '',
        f'`{overlay.relative_to(SEARCH.parents[1])}`:' if code else '',
        '',
        f'```python\n{code}\n```' if code else '',
        '',
    ]
    named = [one for one in dict.fromkeys(COMPONENT.findall(code)) if one in _components()]
    if named:
        lines += ['## Parts', '', '| class | what it does |', '| --- | --- |']
        for one in named:
            module, summary = _components()[one]
            package = module.rpartition('.')[0]
            link = f'../reference/{package}.md#{module}.{one}'
            lines.append(f'| [`{one}`]({link}) | {_markdown(summary)} |')
    if cell:
        lines += ['', '## A cell that it found', '', f'![The found cell]({name}.svg)', '']
        lines += [f'{cell["from"]}']
    lines += ['', 'All methods, and where each is refused: [methods](../en/methods.md).']
    return '\n'.join(lines)


def _table_of_searches(name: str, source: str) -> str:
    left_out = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'leave_out':
            left_out = ast.literal_eval(node.value)
    data: dict[str, list[str]] = {}
    for space, images in _pairs():
        if space not in left_out and f'{space}_{images}' not in left_out:
            data.setdefault(space, []).append(images)
    rows = [
        f'| `{space}` | {", ".join(f"`{images}`" for images in found)} |'
        for space, found in data.items()
    ]
    space = next(iter(data))
    space = 'nb201' if 'nb201' in data else space
    images = 'digits' if 'digits' in data[space] else data[space][0]
    return '\n'.join(
        [
            f'    rdarts search configs/search/{name}_{space}_{images}.py',
            '',
            'The last two parts of the name are the space and the data:',
            '',
            '| space | data |',
            '| --- | --- |',
            *rows,
        ]
    )


@cache
def _components() -> dict[str, tuple[str, str]]:
    """Registered classes by name: their module, and the first line of their docstring."""
    found = {}
    package = SEARCH.parents[1] / 'rdarts'
    for path in sorted(package.rglob('*.py')):
        if '.mim' in path.parts:
            continue
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.ClassDef) and node.decorator_list:
                module = '.'.join(path.relative_to(package.parent).with_suffix('').parts)
                head = (ast.get_docstring(node) or '').partition('\n')[0]
                found[node.name] = (module, head)
    return found


def _spaces() -> str:
    rows = []
    for name, space in spaces().items():
        edges = sum(len(cell.edges) for cell in space.cells.values())
        rows.append(
            f'| [{name}]({name}.md) | {_summary(name)} | {", ".join(space.cells)} | {edges} | '
            f'{len(space.candidates)} |'
        )
    return '\n'.join(
        [
            '# Spaces',
            '',
            'A space is a table: cell types, edges, and the candidate operations of each edge. '
            '[A table of your own](../en/custom_spaces.md) is a config.',
            '',
            '| space | what it is | cell types | edges | operations |',
            '| --- | --- | --- | --- | --- |',
            *rows,
        ]
    )


def _summary(name: str) -> str:
    return _markdown((SEARCH_SPACES.module_dict[name].__doc__ or '').partition('\n')[0])


def _space(name: str, space: SearchSpace) -> str:
    lines = [f'# {name}', '', _summary(name), '']
    weighted = sum(len(edge.candidates) > 1 for cell in space.cells.values() for edge in cell.edges)
    lines += [
        f'$$\n\\alpha \\in \\mathbb{{R}}^{{{sum(_alphas(space))}}}, \\qquad {weighted} '
        '\\text{ edges with more than one candidate}\n$$',
        '',
        '| cell type | nodes | inputs | edges | output |',
        '| --- | --- | --- | --- | --- |',
    ]
    for kind, one in space.cells.items():
        lines.append(
            f'| {kind} | {one.num_nodes} | {one.num_inputs} | {len(one.edges)} | {one.output} |'
        )
    lines += ['', '| operation | parameter-free |', '| --- | --- |']
    for operation in space.candidates:
        lines.append(f'| `{operation}` | {"yes" if operation in space.parameter_free else ""} |')
    images = [data for one, data in _pairs() if one == space.config_name]
    if images and (space.config_name == name or name == 'nas_bench_201'):
        lines += ['', '## Search in it', '']
        lines += [f'    rdarts search configs/search/rdarts_{space.config_name}_{images[0]}.py']
        lines += ['', f'Data: {", ".join(f"`{one}`" for one in images)}.']
    if space.retraining:
        lines += ['', '## Retrain what was found', '']
        config = next(iter(space.retraining.values()))
        lines += [f'    rdarts retrain configs/retrain/{config}.py --genotype WORK_DIR']
        configs = ', '.join(f'`{one}`' for one in dict.fromkeys(space.retraining.values()))
        lines += ['', f'Configs: {configs}.']
    lines += ['', '## A genotype of it', '', f'![A genotype]({name}.svg)', '']
    lines += [_example(name, space)[1]]
    return '\n'.join(lines)


def _example(name: str, space: SearchSpace) -> tuple[Genotype, str]:
    """A genotype of a space, and where it is from."""
    if name in PUBLISHED:
        return read_genotype(PUBLISHED[name]), f'`{PUBLISHED[name]}`, as published.'
    form = GENOTYPE_FORMS.get(space.genotype)
    return form.random(space, np.random.default_rng(0)), 'Drawn at random, with seed 0.'


def _alphas(space: SearchSpace) -> Iterator[int]:
    for cell in space.cells.values():
        for edge in cell.edges:
            yield len(edge.candidates)


def _drawing(cell: str) -> str:
    return svg_text(lay_out(read_genotype(cell)))


def _markdown(text: str) -> str:
    """A docstring's text as Markdown."""
    text = re.sub(r':\w+:`~?([\w.]+)`', lambda found: f'`{found[1].rpartition(".")[2]}`', text)
    return text.replace('``', '`')
