"""Pages of HTML that need no other file: a template with style, script and data put in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STYLE, SCRIPT = Path(__file__).with_name('page.css'), Path(__file__).with_name('page.js')
DATA = '/*DATA*/'


def filled(template: Path, data: Any) -> str:
    """A page with what it shows; no text of the data can end the script that it is in.

    Args:
        template (Path): HTML with the marks ``/*STYLE*/``, ``/*COMMON*/`` and ``/*DATA*/``, for the
            style and the functions that all pages share, and for the data.
        data: JSON data, without numbers that are not finite.
    """
    page = template.read_text(encoding='utf-8')
    for mark, path in (('/*STYLE*/', STYLE), ('/*COMMON*/', SCRIPT)):
        page = page.replace(mark, path.read_text(encoding='utf-8').rstrip('\n'), 1)
    text = json.dumps(data, separators=(',', ':'), allow_nan=False)
    # within <script> only `<` could end it; last, so that no data are taken for a mark
    return page.replace(DATA, text.replace('<', '\\u003c'), 1)
