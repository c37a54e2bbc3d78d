"""Who imports whom: the order of the tree, no circles, and no long file without a reason.

Imports inside of functions count; those under ``TYPE_CHECKING`` do not. What stands below is named
by its registry key. See docs/en/architecture.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'rdarts'
# Top to bottom: a file imports what stands above it, or in its own entry. What a folder has that is
# not named by itself stands where the folder does.
ORDER = (
    '',  # rdarts/__init__.py
    'errors',
    'utils',
    'registry',
    'genotypes',
    'checkpoint',
    'configuration',
    'benchmarks',
    'search_spaces',
    'datasets',
    'models.kernels',
    'models.batch_norm',
    'models.layers',
    'models.operations',
    'models.fused',
    'models.mixed_ops',
    'models.alpha_ways',
    'models.alpha',
    'models.backbones',
    'models.heads',
    'models.classifier',
    'models',
    'architect.gradients',
    'architect.alpha_step',
    'architect.weights_step',
    'architect.held_rows',
    'architect.architect',
    'architect.hessian',
    'architect.relaxations',
    'architect.architects',
    'architect.regularizers',
    'architect.discretizers',
    'architect.transitions',
    'architect',
    'deploy',
    'results',
    'visualization',
    'engine',
    'hooks',
    'sampling',
    'apis',
    'study',
    'measure',
    'auto',
    'cli',
    'console',
    '__main__',
    'torchrun',
)
# What is still to be mended: (importer, imported). One that occurs no longer is to be taken out.
KNOWN: set[tuple[str, str]] = set()
MOST_LINES = 400
REASON = 'Longer than 400 lines:'
# Files that are still to be split, or to say why not. One that is mended is to be taken out.
LONG: set[str] = set()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob('*.py'))}


def imported(node: ast.AST) -> Iterator[str]:
    """The modules of the package that a syntax tree imports, late imports included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith('TYPE_CHECKING'):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in FILES)
        elif isinstance(child, ast.ImportFrom) and child.module in FILES:
            for alias in child.names:
                inner = f'{child.module}.{alias.name}'
                yield inner if inner in FILES else child.module
        yield from imported(child)


TREES = {name: ast.parse(path.read_text(encoding='utf-8')) for name, path in FILES.items()}
GRAPH = {module: set(imported(tree)) - {module} for module, tree in TREES.items()}


def place(module: str) -> int:
    """Where a module stands in the order."""
    name = module.removeprefix('rdarts').lstrip('.')
    while name not in ORDER:
        name = name.rpartition('.')[0]
    return ORDER.index(name)


def test_every_folder_is_in_the_order():
    top = {path.stem for path in PACKAGE.iterdir() if path.suffix == '.py' or path.is_dir()}
    top = {name for name in top if name != '__init__' and f'rdarts.{name}' in FILES}
    assert top <= set(ORDER)


UP = {(a, b) for a, others in GRAPH.items() for b in others if place(b) > place(a)}


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """What a module imports, directly or not."""
    found, left = set(), [start]
    while left:
        for other in graph[left.pop()] - found:
            found.add(other)
            left.append(other)
    return found


def circles(known: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The imports by which files import each other, directly or not."""
    graph = {a: {b for b in others if (a, b) not in known} for a, others in GRAPH.items()}
    beyond = {module: reached(graph, module) for module in graph}
    return {(a, b) for a, others in graph.items() for b in others if a in beyond[b]}


def test_no_import_is_relative():
    """The others here would pass over it."""
    found = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert sorted(found) == []


def test_the_page_on_the_architecture_has_the_same_order():
    page = (ROOT / 'docs' / 'en' / 'architecture.md').read_text(encoding='utf-8')
    text = re.search(r'^errors, utils, .*?\.$', page, re.DOTALL | re.MULTILINE)[0]
    found = ['']
    for entry, inner in re.findall(r'(\w+)(?:\s+\(([^)]*)\))?', text):
        found += [f'{entry}.{name}' for name in re.findall(r'\w+', inner)] + [entry]
    assert found == list(ORDER)


def test_a_file_imports_only_what_stands_above_it():
    assert sorted(UP - KNOWN) == []


def test_no_files_import_each_other():
    assert sorted(circles(KNOWN)) == []


def test_no_known_import_is_mended():
    assert sorted(KNOWN - UP - circles(set())) == [], 'mended: take it out of KNOWN'


def test_a_long_file_says_why_it_is_one():
    long = set()
    for path in (path for folder in ('rdarts', 'tools') for path in (ROOT / folder).rglob('*')):
        if path.suffix in ('.py', '.cpp', '.h'):
            lines = path.read_text(encoding='utf-8').splitlines()
            if len(lines) > MOST_LINES and REASON not in '\n'.join(lines[:12]):
                long.add(path.relative_to(ROOT).as_posix())
    assert sorted(long - LONG) == []
    assert sorted(LONG - long) == [], 'mended: take it out of LONG'
