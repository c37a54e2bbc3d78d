"""The pages of the API reference, one a package: what they show is read from the docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).resolve().parents[2] / 'rdarts'
WITHOUT = ('.mim', 'csrc', '__pycache__')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to the navigation."""
    for section in config.nav:
        if 'Reference' in section:
            section['Reference'] += [{name: f'reference/{name}.md'} for name in packages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, in memory."""
    rows = [
        f'| [`{name}`]({name}.md) | {_summary(folder / "__init__.py")} |'
        for name, folder in packages().items()
    ]
    text = '# API reference\n\n| package | what it holds |\n| --- | --- |\n' + '\n'.join(rows)
    files.append(File.generated(config, 'reference/index.md', content=text))
    for name, folder in packages().items():
        files.append(File.generated(config, f'reference/{name}.md', content=_page(name, folder)))
    return files


@cache
def packages() -> dict[str, Path]:
    """The folder of every package that has a public module, by its name."""
    found = {}
    for init in sorted(PACKAGE.rglob('__init__.py')):
        folder = init.parent
        name = '.'.join(folder.relative_to(PACKAGE.parent).parts)
        if not set(folder.parts) & set(WITHOUT) and any(_modules(folder)):
            found[name] = folder
    return found


def _page(name: str, folder: Path) -> str:
    lines = [f'# {name}', '', _summary(folder / '__init__.py'), '']
    for path in _modules(folder):
        lines += [f'::: {name}.{path.stem}', '']
    return '\n'.join(lines)


def _modules(folder: Path) -> Iterator[Path]:
    """The modules that have something public."""
    for path in sorted(folder.glob('*.py')):
        if not path.name.startswith('_') and any(_public(path)):
            yield path


def _public(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith('_'):
            yield node.name


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return text.partition('\n\n')[0].replace('\n', ' ').replace('``', '`')
