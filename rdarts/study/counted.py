"""Parameters and multiply-adds of networks that searches found, and of published ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdarts.errors import UserError, nearest
from rdarts.genotypes import load_genotype
from rdarts.study.run import Run
from rdarts.study.schema import FOLDER_NAME, FOLDER_NAME_SAYS, check_keys
from rdarts.study.searches import Comparison, Search
from rdarts.study.statistics import Summary
from rdarts.study.tables import Table, percent
from rdarts.study.tool_runs import read_result, tool_run
from rdarts.utils.network_libraries import LIBRARIES

TOOL, FOLDER = 'analysis/complexity.py', 'networks'
COLUMNS = dict(parameters='parameters (M)', macs='multiply-adds (M)')


@dataclass(frozen=True)
class Count:
    """A network that is counted.

    Args:
        name (str): Of its row: a method, or a network of the study.
        run (Run): What counts it.
    """

    name: str
    run: Run


def library_of(network: str) -> str | None:
    """The library of a network of the study; None of a genotype.

    Args:
        network (str): ``torchvision:NAME``, ``timm:NAME``, or a genotype.
    """
    library, colon, _ = network.partition(':')
    return library if colon else None


def check_networks(study: Mapping[str, Any], place: str) -> None:
    """What a study says of networks that are counted is so.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): The file, for the error.

    Raises:
        UserError: It is not.
    """
    networks = study.get('networks', {})
    check_keys(networks, dict.fromkeys(networks, str), f'{place}: study.networks')
    for name, network in networks.items():
        if not isinstance(name, str) or not FOLDER_NAME.fullmatch(name):
            raise UserError(f'{place}: study.networks: a name {FOLDER_NAME_SAYS}, but is {name!r}')
        library = library_of(network)
        if library is not None and library not in LIBRARIES:
            raise UserError(
                f"{place}: study.networks.{name}: there is no library '{library}': "
                f'{nearest(library, LIBRARIES)}'
            )
    image = study.get('image', [1, 1, 1])
    if len(image) != 3 or not all(type(size) is int and size > 0 for size in image):
        raise UserError(f'{place}: study.image must be three sizes, but is {image}')
    if networks and 'image' not in study:
        raise UserError(f'{place}: study.image is missing: for which networks are counted')


def counted_networks(
    study: Mapping[str, Any], parts: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """The networks of a study that can be counted, and why the others cannot.

    Args:
        study (Mapping[str, Any]): Its entry.
        parts (Mapping[str, Any]): What a command takes of its searches: then it has no networks.
    """
    found, missing = {}, {}
    for name, network in ({} if any(parts.values()) else study.get('networks', {})).items():
        library = library_of(network)
        if library and importlib.util.find_spec(library) is None:
            missing[name] = f"it needs {library}: 'pip install {library}'"
        else:
            found[name] = network
    return found, missing


def counts(plan: Comparison, ended: Sequence[Search]) -> list[Count]:
    """The networks of a study: those given by name, and those that searches have found.

    Args:
        plan (Comparison): What is compared; without an image's size nothing is counted.
        ended (Sequence[Search]): The searches that have ended.
    """
    if not plan.image:
        return []
    shape = ['--shape', *map(str, plan.image), '--no-latency']
    found = []
    for name, network in plan.networks.items():
        kind = '--network' if library_of(network) else '--genotype'
        folder = Path(plan.work_dir) / FOLDER / name
        run = tool_run(f'{name} (complexity)', folder, TOOL, [kind, network, *shape], {})
        found.append(Count(name, run))
    for search in ended:
        retrain = plan.retrain_of(search.config)
        if retrain is None or search.run.error:
            continue
        try:
            genotype = load_genotype(search.run.folder).to_string()
        except UserError as error:
            search.run.error = str(error)
            continue
        # the cell, not its folder, which another command may spell otherwise
        options = [retrain, '--genotype', genotype, *shape]
        if plan.retrain_options:
            options += ['--cfg-options', *plan.retrain_options]
        name = f'{search.method}, seed {search.seed} (complexity)'
        folder = search.run.folder / 'complexity'
        found.append(Count(search.method, tool_run(name, folder, TOOL, options, {})))
    return found


def count_table(plan: Comparison, counted: Sequence[Count]) -> tuple[Table, dict[str, Any]] | None:
    """A row for each network that was counted; of several seeds, their mean and deviation.

    Args:
        plan (Comparison): What is compared.
        counted (Sequence[Count]): Its networks; a run that cannot be read has its error.

    Returns:
        tuple[Table, dict[str, Any]] | None: The table, and name -> what the tool printed of each
        network; None where nothing was counted.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for one in counted:
        if one.run.state() != 'done':
            continue
        try:
            result = read_result(one.run)
            if not all(isinstance(result.get(key), int) for key in COLUMNS):
                raise UserError('its result has no parameters and multiply-adds')
        except UserError as error:
            one.run.error = str(error)
            continue
        found.setdefault(one.name, []).append(result)
    if not found:
        return None
    rows = [
        [name, *(percent(Summary.of([r[key] / 1e6 for r in results])) for key in COLUMNS)]
        for name, results in found.items()
    ]
    size = ' x '.join(map(str, plan.image))
    title = f'Parameters and multiply-adds of convolutions and linear layers, of an image {size}'
    return Table('complexity', title, ['network', *COLUMNS.values()], rows), found
