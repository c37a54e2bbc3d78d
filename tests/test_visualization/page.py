"""The report as a file: the data in it, and names that would be markup if they were not text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HOSTILE = '<img src=x onerror="window[`hit`]=1"><!--'  # without a slash: it names folders too
NASTY = f'</script>{HOSTILE}'


def data_of(path: Path) -> dict[str, Any]:
    """What a report was made of."""
    text = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text('utf-8'), re.S
    )
    return json.loads(text[1])
