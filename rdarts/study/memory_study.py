"""A study of memory: the peak of a search step, of methods in spaces, in every execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from rdarts.configuration.composition import methods as all_methods
from rdarts.configuration.composition import spaces_and_data, why_absent
from rdarts.configuration.declarations import AnyList
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError, nearest
from rdarts.study.command_parts import numbers_of, part_of, refuse_options, remark_of, small_scale
from rdarts.study.run import Run
from rdarts.study.schema import Schema, check_keys, check_scale, check_seeds
from rdarts.study.searches import content_of
from rdarts.study.tool_runs import tool_run
from rdarts.utils.executions import EXECUTIONS

KEYS: Schema = dict(
    kind=str,
    title=str,
    methods=AnyList,
    spaces=AnyList,
    executions=list,
    seeds=int,
    first_seed=int,
    steps=dict,  # of tools/benchmarks/memory.py
    depths=dict,  # by space
    published=dict,  # MB, by space and method
    absent=dict,  # rows that have no run, and why
    small=dict,
)
OF_STEPS: Schema = dict(
    batch_size=int, width=int, image_size=int, steps=int, warmup=int, threads=int, checkpoint=bool
)
OF_SMALL: Schema = dict(says=str, steps=dict, depths=dict)
TOOL, STEPS = 'benchmarks/memory.py', 3
DATA = 'c10'  # of whose configs the tool takes the steps


@dataclass(frozen=True)
class MemoryStudy:
    """What is measured: every method in every space, in every execution, with every seed.

    Args:
        methods (Sequence[str]): As names of configs have them.
        spaces (Sequence[str]): Likewise.
        work_dir (str): Where each run has its folder ``METHOD_SPACE/EXECUTION/seed_SEED``.
        executions (Sequence[str]): Some of ``EXECUTIONS``. Defaults to all.
        steps (Mapping[str, Any]): Options of the tool by name, such as ``batch_size``.
            Defaults to the tool's, with 3 steps.
        depths (Mapping[str, int]): By space. Defaults to those of the supernets.
        published (Mapping[str, Mapping[str, float]]): Space -> method -> MB, beside which the
            figures stand. Defaults to none.
        seeds (int): How many seeds. Defaults to 1.
        first_seed (int): The first of them. Defaults to 0.
        jobs (int): Runs at a time. Defaults to 1.
        absent (Mapping[str, str]): What has no run, by name, and why. Defaults to none.
        remark (str): What every table says beside its title. Defaults to nothing.
    """

    methods: Sequence[str]
    spaces: Sequence[str]
    work_dir: str
    executions: Sequence[str] = EXECUTIONS
    steps: Mapping[str, Any] = field(default_factory=dict)
    depths: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seeds: int = 1
    first_seed: int = 0
    jobs: int = 1
    absent: Mapping[str, str] = field(default_factory=dict)
    remark: str = ''

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Space and method of each row of the table."""
        pairs = [(space, method) for space in self.spaces for method in self.methods]
        return [pair for pair in pairs if row_name(*pair) not in self.absent]


def config_of(space: str, method: str) -> Path:
    """The config whose steps are measured."""
    return configs_folder() / 'search' / f'{method}_{space}_{DATA}.py'


def row_name(space: str, method: str) -> str:
    """What a row is called."""
    return f'{space}: {method}'


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Args:
        space (str): Of its row.
        method (str): Of its row.
        execution (str): One of ``EXECUTIONS``.
        seed (int): Of weights and images.
        run (Run): What measures it.
    """

    space: str
    method: str
    execution: str
    seed: int
    run: Run


def measurements(plan: MemoryStudy) -> list[Measured]:
    """Every measurement of a study.

    Raises:
        UserError: A config cannot be read.
    """
    found = []
    for space, method in plan.rows:
        sizes = {'steps': STEPS, 'warmup': 0, **plan.steps}
        if space in plan.depths:
            sizes['depth'] = plan.depths[space]
        content = content_of(load_config(config_of(space, method)).to_dict())
        for execution in plan.executions:
            for seed in range(plan.first_seed, plan.first_seed + plan.seeds):
                options = ['--space', space, '--method', method, '--executions', execution]
                for key, value in dict(sizes, seed=seed).items():
                    name = f'--{key.replace("_", "-")}'
                    if value is not False:
                        options += [name] if value is True else [name, str(value)]
                folder = Path(plan.work_dir) / f'{method}_{space}' / execution / f'seed_{seed}'
                name = f'{row_name(space, method)}, {execution}, seed {seed} (memory)'
                run = tool_run(name, folder, TOOL, options, dict(content=content))
                found.append(Measured(space, method, execution, seed, run))
    return found


def check_study(study: Mapping[str, Any], place: str) -> None:
    """What a file says is one of a memory study.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): The file, for the error.

    Raises:
        UserError: It is not so.
    """
    check_keys(study, KEYS, f'{place}: study')
    for key in ('methods', 'spaces'):
        if not study.get(key) or not all(isinstance(name, str) for name in study[key]):
            raise UserError(f'{place}: study.{key} must be a list of names')
    for key in ('methods', 'spaces', 'executions'):
        names = study.get(key, [])
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{place}: study.{key} has '{twice}' twice")
    for name in study.get('executions', EXECUTIONS):
        if name not in EXECUTIONS:
            raise UserError(
                f"{place}: study.executions: there is no '{name}': {nearest(str(name), EXECUTIONS)}"
            )
    check_seeds(study, place)
    small = study.get('small', {})
    check_keys(small, OF_SMALL, f'{place}: study.small')
    check_scale(study, place)
    for part, where in ((study, 'study'), (small, 'study.small')):
        check_keys(part.get('steps', {}), OF_STEPS, f'{place}: {where}.steps')
        every = dict.fromkeys(study['spaces'], int)
        check_keys(part.get('depths', {}), every, f'{place}: {where}.depths')
    names = [row_name(*pair) for pair in product(study['spaces'], study['methods'])]
    check_keys(study.get('absent', {}), dict.fromkeys(names, str), f'{place}: study.absent')
    every = dict.fromkeys(study['spaces'], dict)
    check_keys(study.get('published', {}), every, f'{place}: study.published')
    for space, values in study.get('published', {}).items():
        every = dict.fromkeys(study['methods'], float)
        check_keys(values, every, f'{place}: study.published.{space}')


def plan_of(
    study: Mapping[str, Any],
    place: str,
    parts: Mapping[str, Sequence[str] | None],
    small: bool,
    work_dir: str,
    given: Mapping[str, Any],
) -> MemoryStudy:
    """What a checked study says is to be measured.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): The file, for errors.
        parts (Mapping[str, Sequence[str] | None]): What the command takes of it, by option.
        small (bool): Whether it is scaled as it says.
        work_dir (str): Where runs have their folders.
        given (Mapping[str, Any]): Further options of the command; those left out are empty.

    Raises:
        UserError: A method or space is not known or not in the study, or an option is not for it.
    """
    refuse_options(given, parts, ('methods', 'space'), place, 'memory')
    scale = small_scale(study, place, small)
    folder = configs_folder() / 'search'
    known = all_methods(folder)
    for name in study['methods']:
        if name not in known:
            hint = nearest(name, known)
            raise UserError(f"{place}: study.methods: there is no method '{name}': {hint}")
    methods = part_of(parts.get('methods'), study['methods'], 'methods')
    spaces = part_of(parts.get('space'), study['spaces'], 'space')
    absent = {}
    said = study.get('absent', {})
    known = sorted(space for space, data in spaces_and_data(folder) if data == DATA)
    for space in spaces:
        if space not in known:
            hint = nearest(space, known)
            raise UserError(f"{place}: study.spaces: there is no '{space}': {hint}")
        for method in methods:
            name = row_name(space, method)
            reason = said.get(name) or why_absent(config_of(space, method))
            if reason:
                absent[name] = reason
    plan = MemoryStudy(
        methods=methods,
        spaces=spaces,
        work_dir=work_dir,
        executions=study.get('executions', EXECUTIONS),
        steps={**study.get('steps', {}), **scale.get('steps', {})},
        depths={**study.get('depths', {}), **scale.get('depths', {})},
        published=study.get('published', {}),
        absent=absent,
        remark=remark_of(study, small),
        **numbers_of(study, given),
    )
    if not plan.rows:
        name, reason = next(iter(absent.items()))
        raise UserError(f'nothing is to be measured: {name}: {reason}')
    return plan
