"""What the page of a run says, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rdarts.auto.amounts import count_words, time_words
from rdarts.auto.configs import Recipe, named_sizes
from rdarts.auto.evaluation import Evaluation
from rdarts.datasets.image_bytes import read_image
from rdarts.deploy.image_input import ImageInput
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.search_spaces import SearchSpace
from rdarts.utils.commands import command
from rdarts.utils.files import printable
from rdarts.visualization.network_report import write_network_report

HEADER = (
    *('network', 'accuracy, %', '95 % interval', 'right', 'MACs', 'parameters'),
    *('ONNX file', 'latency', 'epochs', 'time'),
)


@dataclass(frozen=True)
class Contender:
    """A trained network as the page has it.

    Args:
        name (str): What it is called.
        evaluation (Evaluation): What it reaches, and costs.
        epochs (str): Of its training, and search.
        seconds (float): What these took.
        size (int | None): Bytes of its ONNX file; None where there is none.
    """

    name: str
    evaluation: Evaluation
    epochs: str
    seconds: float
    size: int | None

    def cells(self) -> list[str]:
        """Its row below :data:`HEADER`."""
        one = self.evaluation
        return [
            self.name,
            f'{one.accuracy:.1f}',
            f'{one.low:.1f} to {one.high:.1f}',
            f'{one.right} of {one.count}',
            count_words(one.macs),
            count_words(one.parameters),
            '' if self.size is None else f'{self.size / 1e6:.2f} MB',
            f'{one.latency:.2f} ms',
            self.epochs,
            time_words(self.seconds),
        ]


def table(contenders: Sequence[Contender]) -> list[str]:
    """The networks as lines for a terminal."""
    rows = [list(HEADER), *(one.cells() for one in contenders)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return [
        '  '.join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def write_page(
    path: Path,
    title: str,
    said: str,
    contenders: Sequence[Contender],
    genotype: Genotype,
    space: SearchSpace,
    sizes: Mapping[str, int],
    classes: Sequence[str],
    preprocessing: ImageInput,
    commands: Sequence[tuple[str, str]],
    facts: Sequence[tuple[str, Sequence[str]]],
    machine: str,
) -> None:
    """Write the page of a run.

    Args:
        path (Path): The file.
        title (str): Of what it is.
        said (str): Which network is best.
        contenders (Sequence[Contender]): The network found first, then the baselines.
        genotype (Genotype): The cell found.
        space (SearchSpace): Its space.
        sizes (dict): Of the network.
        classes (Sequence[str]): Names.
        preprocessing (ImageInput): What is done to an image.
        commands (Sequence): What, and the command that does it.
        facts (Sequence): Further lines, each list with its heading.
        machine (str): On which it was measured.

    Raises:
        OSError: It cannot be written.
    """
    found = contenders[0].evaluation
    best = max(one.evaluation.right for one in contenders)
    names = [printable(name) for name in classes]
    count = found.count - found.right
    write_network_report(
        path,
        genotype,
        space,
        classes,
        found.confusion,
        [_error(one, names) for one in found.errors],
        title=title,
        subtitle=f'{len(names)} classes, {found.count} held-out images; measured on {machine}',
        verdict=said,
        shape=f'Cell of {space.name}, {named_sizes(sizes)}: {genotype.to_string()}',
        networks=dict(
            header=list(HEADER),
            rows=[dict(cells=one.cells(), best=one.evaluation.right == best) for one in contenders],
            note='Intervals are Wilson’s of 95 %. Latency: one image, the median of 50 passes in '
            'PyTorch on this machine. Time: search and training together, with the same time '
            'planned for each network. All are trained from scratch by the same recipe, and '
            'evaluated after the last epoch; nothing was chosen by the held-out images.',
        ),
        errors_note=f'{count} of {found.count} held-out images are taken for another class; these '
        'are those of which the network is surest. Probabilities are its own, of what it says and '
        'of the right class.',
        preprocessing=preprocessing_facts(preprocessing),
        commands=[list(pair) for pair in commands],
        facts=[[name, list(lines)] for name, lines in facts],
    )


def preprocessing_facts(given: ImageInput) -> list[list[str]]:
    """What is done to an image, in pairs of name and value."""
    steps = []
    for step in given.steps:
        size = step['size']
        if step['type'] == 'center_crop':
            steps.append(f'crop {size[1]} x {size[0]} pixels at the centre')
        else:
            to = f'shorter side {size}' if isinstance(size, int) else f'{size[1]} x {size[0]}'
            steps.append(f'resize, {to} pixels ({step["interpolation"]}, {step["library"]})')
    return [
        ['steps', '; '.join(steps)],
        ['channels', f'{given.channel_order}, pixels from 0 to 255, float32 [N, 3, H, W]'],
        ['minus the mean', ', '.join(f'{value:g}' for value in given.mean)],
        ['divided by', ', '.join(f'{value:g}' for value in given.std)],
    ]


def _error(one: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, dict[str, str]]:
    path = Path(one['path'])
    try:
        image = read_image(path)
    except UserError:  # it was moved since
        image = np.zeros((8, 8, 3), np.uint8)
    return image, dict(
        path=printable(path.name.partition('_')[2] or path.name),
        truth=names[one['truth']],
        said=names[one['said']],
        probability=f'{100 * one["probability"]:.0f} %',
        of_truth=f'{100 * one["of_truth"]:.0f} %',
    )


def by_hand(folder: Path, image_size: int, others: Mapping[str, str]) -> list[tuple[str, str]]:
    """The commands of each step.

    Args:
        folder (Path): Of the run.
        image_size (int): A side of what the network reads, in pixels.
        others (dict): Names of the baselines' folders -> what they are called.
    """
    trained, genotype = folder / 'retrain', folder / 'genotype.json'
    mine = folder / 'by_hand'
    shape = ('--shape', '3', str(image_size), str(image_size))
    found = [
        ('Search', command('train.py', folder / 'search.py', '--work-dir', mine / 'search')),
        (
            'Train what was found',
            command(
                *('train.py', folder / 'retrain.py', '--genotype', genotype),
                *('--work-dir', mine / 'retrain'),
            ),
        ),
        ('Evaluate', command('test.py', trained / 'config.py', trained)),
        ('Export', command('export.py', trained, '--out', mine / 'net.onnx')),
        ('Classify images', f'{command("infer.py", folder / "net.onnx")} IMAGES'),
        ('Draw the cell', command('analysis/draw_genotype.py', genotype)),
        (
            'Count and time',
            command('analysis/complexity.py', trained / 'config.py', *shape),
        ),
    ]
    found += [
        (
            f'Train {title}',
            command('train.py', folder / f'{name}.py', '--work-dir', mine / name),
        )
        for name, title in others.items()
    ]
    return found


def recipe_lines(recipe: Recipe) -> list[str]:
    """How the networks were trained."""
    return [
        f'SGD with Nesterov momentum .9 and weight decay 5e-4, learning rate {recipe.lr:g} falling '
        'to 0 by half a cosine',
        f'batches of {recipe.batch_size}, label smoothing .1, '
        + ('images moved by up to an eighth' if recipe.native else 'crops of 35 % to 100 %')
        + (', mirrored at random' if recipe.flip else ''),
        f'random seed {recipe.seed}',
    ]
