"""The picture of critical differences: methods on a line of mean ranks."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

from rdarts.utils.files import printable
from rdarts.visualization.style import LINES, plain_style, save_figure

ROW, BAR, WIDTH, DPI = 0.22, 0.12, 8.0, 120  # inches
INK = '#222222'
LONGEST = 34  # characters of a name for which there is room
TITLE, LINE = 100, 0.15  # characters of a line of the title, and its height in inches


def plot_ranks(
    methods: Sequence[str],
    means: Sequence[float],
    apart: float | None,
    groups: Sequence[tuple[int, int]],
    title: str,
    paths: Sequence[str | os.PathLike],
) -> None:
    """Draw mean ranks, and a bar over each group of methods that cannot be told apart.

    The picture is that of Demsar (2006, https://jmlr.org/papers/v7/demsar06a.html).

    Args:
        methods (Sequence[str]): Names, the best mean rank first.
        means (Sequence[float]): Their mean ranks, ascending.
        apart (float, optional): The critical difference, which is drawn as a length; None where
            there is none.
        groups (Sequence[tuple[int, int]]): First and last method of each group.
        title (str): Stands above, in lines as many as it needs.
        paths (Sequence[str | PathLike]): Files to write, by their endings.

    Raises:
        UserError: A file cannot be written.
    """
    count, left = len(methods), (len(methods) + 1) // 2
    below = 0.25 + BAR * len(groups)  # from the line of ranks to the first name
    depth = below + ROW * left
    lines = textwrap.wrap(printable(title), TITLE)
    height = 0.95 + LINE * (len(lines) - 1) + depth
    with plain_style():
        from matplotlib.figure import Figure  # slow to import

        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.3, 0, 0.4, 1))
        axes.set_xlim(1, max(count, 2))
        axes.set_ylim(depth + 0.1, depth + 0.1 - height)  # inches, downwards from the line
        axes.axis('off')
        name = axes.get_yaxis_transform()  # across in parts of the axes' width, down in inches
        figure.text(0.5, 1 - 0.12 / height, '\n'.join(lines), ha='center', va='top', size=9)
        axes.plot([1, max(count, 2)], [0, 0], color=INK, linewidth=1)
        step = max(1, -(-count // 10))
        for rank in sorted({*range(1, count + 1, step), count}):
            axes.plot([rank, rank], [0, -0.06], color=INK, linewidth=1)
            axes.text(rank, -0.09, str(rank), ha='center', va='bottom', size=8)
        if apart is not None and apart <= max(count, 2) - 1:
            axes.plot([1, 1 + apart], [-0.36, -0.36], color=INK, linewidth=2)
            axes.text(
                1 + apart,
                -0.36,
                f'  critical difference {apart:.2f}',
                ha='left',
                va='center',
                size=8,
            )
        for place, (first, last) in enumerate(groups):
            level = 0.14 + BAR * place
            ends = [means[first], means[last]]
            axes.plot(ends, [level, level], color=LINES[0]['color'], linewidth=4,
                      solid_capstyle='round')  # fmt: skip
        for place, (method, mean) in enumerate(zip(methods, means, strict=True)):
            best, method = place < left, printable(method)
            if len(method) > LONGEST:
                method = f'{method[: LONGEST - 1]}…'
            level = below + ROW * (place if best else count - 1 - place)
            side = 'right' if best else 'left'
            edge, text = (
                (-0.02, f'{method}  {mean:.2f}') if best else (1.02, f'{mean:.2f}  {method}')
            )
            end = 1 if best else max(count, 2)
            # at the first and last rank, half of a line is outside of the axes
            axes.plot([mean, mean, end], [0, level, level], color=INK, linewidth=0.8,
                      clip_on=False)  # fmt: skip
            axes.text(edge, level, text, ha=side, va='center', size=8, transform=name)
        for path in paths:
            save_figure(figure, path, DPI)
