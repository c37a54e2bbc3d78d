"""``python -m rdarts``: the command ``rdarts`` of this Python."""

from __future__ import annotations

import sys

from rdarts.console.main import main

if __name__ == '__main__':
    sys.exit(main())
