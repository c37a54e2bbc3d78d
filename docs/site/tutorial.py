"""The tutorial as a page and as a notebook, made of its script."""

from __future__ import annotations

from pathlib import Path

import jupytext
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SCRIPT = Path(__file__).resolve().parents[1] / 'en' / 'tutorial.py'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add both, in memory: the notebook has no outputs."""
    text = SCRIPT.read_text(encoding='utf-8')
    notebook = jupytext.reads(text, fmt='py:percent')
    parts = [
        cell.source if cell.cell_type == 'markdown' else f'```python\n{cell.source}\n```'
        for cell in notebook.cells
    ]
    files.append(File.generated(config, 'en/tutorial.md', content='\n\n'.join(parts)))
    made = jupytext.writes(notebook, fmt='ipynb')
    files.append(File.generated(config, 'en/tutorial.ipynb', content=made))
    return files
