"""Studies: what a file and a command line say is to be run, and what is wrong with them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rdarts.configuration.composition import methods
from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.errors import UserError
from rdarts.study.checks import check
from rdarts.study.remarks import with_remarks
from rdarts.study.searches import Comparison, searches
from rdarts.study.study_file import comparison_of, is_study, read_study
from rdarts.study.tables import Table

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
STUDIES = sorted(
    path for path in (CONFIGS / 'studies').glob('*.py') if 'kind' not in read_study(str(path))
)


def write(folder: Path, **keys: str) -> str:
    """A study of two methods in NAS-Bench-201, with other keys, as they are written in a file."""
    given = dict(methods="['darts', 'rdarts']", spaces="['nb201']", data="['c10']") | keys
    text = ', '.join(f'{key}={value}' for key, value in given.items())
    path = folder / 'mine.py'
    path.write_text(f'study = dict({text})\n')
    return str(path)


def load(plan: Comparison, entry: str):
    return load_config(plan.config_of(entry), parse_options(plan.options_of(entry)))


def names(plan: Comparison) -> list[str]:
    return [Path(entry).stem for entry in plan.configs]


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_a_ready_study(path):
    assert is_study(path)
    whole = comparison_of([str(path)])
    assert whole.configs and whole.remark and whole.seeds >= 1
    assert whole.work_dir == f'work_dirs/studies/{path.stem}'
    entry = whole.configs[-1]
    part = comparison_of([str(path)], methods=[Path(entry).stem], small=True, seeds=2)
    assert names(part) == [Path(entry).stem] and part.all_seeds == range(2)
    assert part.work_dir.endswith('_small') and part.remark.startswith(f'{whole.remark}; small: ')
    cfg, small = load(whole, entry), load(part, entry)
    assert small.to_dict() != cfg.to_dict()
    assert small.model.backbone.space == cfg.model.backbone.space
    for plan in (whole, part):
        for config in plan.trainings:
            assert (
                'genotype'
                in load_config(config, parse_options(plan.retrain_options)).model.backbone
            )


@pytest.mark.slow
@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_every_search_of_a_ready_study_can_be_small(path):
    """The scale may be too small for one of them alone, whose phases or rests need more epochs."""
    plan = comparison_of([str(path)], small=True)
    for entry in plan.configs:
        cfg = load(plan, entry)
        assert cfg.model.backbone.space


def test_table_1_has_the_rows_of_the_paper():
    plan = comparison_of([str(CONFIGS / 'studies' / 'table1.py')])
    methods = 'darts gdas pc_darts darts_minus snas dsnas idarts beta_darts lambda_darts gdas_aer'
    expected = [f'{name}_nb201_c10' for name in [*methods.split(), 'is_darts']]
    ours = ['rdarts_nb201_c10_l050', 'rdarts_nb201_c10', 'rdarts_nb201_c100']
    expected += [*ours, *(f'{name}_nb201_c10' for name in ('naswot', 'az_nas', 'swap', 'parzc'))]
    assert names(plan) == expected and plan.seeds == 10 and not plan.absent
    settings = []
    for name in ours:
        cfg = load(plan, f'{name}.py')
        settings.append((cfg.default_hooks.architect.lambda_, cfg.train_cfg.max_epochs))
    assert settings == [(0.5, 15), (0.75, 5), (0.75, 5)]
    assert 'CIFAR100' in str(cfg.train_dataloader.dataset)
    small = comparison_of([str(CONFIGS / 'studies' / 'table1.py')], methods=['gdas'], small=True)
    cfg = load(small, 'gdas_nb201_c10.py')
    assert (cfg.train_cfg.max_epochs, cfg.model.backbone.cells_per_stage) == (10, 1)


def test_table_1_in_parts_by_data():
    table1 = str(CONFIGS / 'studies' / 'table1.py')
    assert names(comparison_of([table1], data=['c100'])) == ['rdarts_nb201_c100']
    assert 'rdarts_nb201_c100' not in names(comparison_of([table1], data=['c10']))


def test_methods_on_the_command_line():
    given = dict(methods=['darts', 'rdarts_ramp'], space=['nb201'], data=['c10', 'c100'], seeds=3)
    plan = comparison_of([], **given)
    stems = ['darts_nb201_c10', 'darts_nb201_c100']
    assert names(plan) == [*stems, 'rdarts_nb201_c10_ramp', 'rdarts_nb201_c100_ramp']
    assert plan.all_seeds == range(3) and plan.work_dir == 'work_dirs/compare'
    path = Path(plan.config_of('darts_nb201_c10.py')).resolve()
    assert path == CONFIGS / 'search' / 'darts_nb201_c10.py'


def test_every_method():
    """Also on the command line, where a space of studies that share a scale has it."""
    known = methods(CONFIGS / 'search')
    plan = comparison_of([str(CONFIGS / 'studies' / 'every.py')], small=True)
    assert list(plan.absent) == ['dots_nb201_c10']
    assert {*names(plan), *plan.absent} == {f'{name}_nb201_c10' for name in known}
    typed = comparison_of([], methods=['all'], space=['nb201'], data=['c10'], small=True)
    assert (typed.configs, typed.absent) == (plan.configs, plan.absent)
    assert [typed.options_of(e) for e in typed.configs] == [
        plan.options_of(e) for e in plan.configs
    ]
    assert plan.remark.endswith(typed.remark) and typed.remark.startswith('small: one cell a stage')
    assert typed.work_dir == 'work_dirs/compare_small'
    trained, asks = (load(plan, f'{name}_nb201_c10.py') for name in ('darts', 'local_search'))
    assert (trained.train_cfg.max_epochs, trained.model.backbone.cells_per_stage) == (10, 1)
    assert (asks.budget, asks.get('train_cfg')) == (100, None)  # what asks a table is no smaller
    named = comparison_of([], methods=['rdarts', 'all'], space=['nb201'], data=['c10'])
    assert names(named) == [
        'rdarts_nb201_c10',
        *(n for n in names(plan) if n != 'rdarts_nb201_c10'),
    ]


def test_configs_are_as_before():
    plan = comparison_of(['a.py', 'b.py'], cfg_options=['epochs=3'], first_seed=4)
    assert (plan.configs, plan.seeds, plan.first_seed) == (['a.py', 'b.py'], 10, 4)
    assert plan.config_of('a.py') == 'a.py' and plan.options_of('a.py') == ['epochs=3']


def test_options_of_a_row_come_before_those_of_the_command(tmp_path):
    methods = "[dict(method='rdarts', options={'arch_optimizer.lr': 1e-3}, named='fast'), 'darts']"
    path = write(tmp_path, methods=methods, protocol="{'train_cfg.max_epochs': 7}", seeds='2')
    plan = comparison_of([path], cfg_options=['limit=64'])
    assert names(plan) == ['rdarts_nb201_c10_fast', 'darts_nb201_c10']
    loaded = {entry: load(plan, entry) for entry in plan.configs}
    first, second = loaded.values()
    assert (first.arch_optimizer.lr, second.arch_optimizer.lr) == (1e-3, 3e-4)
    assert first.train_cfg.max_epochs == second.train_cfg.max_epochs == 7
    run = searches(plan, loaded)[0].run
    assert run.folder == Path('work_dirs/studies/mine/rdarts_nb201_c10_fast/seed_0')
    options = ['train_cfg.max_epochs=7', 'arch_optimizer.lr=0.001', 'limit=64']
    assert run.command[-4:] == ['--cfg-options', *options]
    assert run.settings['options'] == options


def test_an_option_that_a_method_does_not_take_is_said_with_its_row(tmp_path):
    """Before runs, whether or not it is loaded for its length."""
    limits = dict(limits='dict(epochs=5)')
    for further in ({}, limits):
        path = write(
            tmp_path, methods="['darts', 'local_search']", protocol='dict(epochs=4)', **further
        )
        with pytest.raises(UserError, match='^local_search_nb201_c10: epochs: ') as error:
            check(comparison_of([path]))
        assert '\n' not in str(error.value)


def test_limits_are_the_most(tmp_path):
    methods = "['darts', 'rdarts', 'local_search']"
    path = write(tmp_path, methods=methods, limits='dict(epochs=20, queries=30)')
    plan = comparison_of([path])
    loaded = {entry: load(plan, entry) for entry in plan.configs}
    darts, ours, asks = loaded.values()
    assert (darts.train_cfg.max_epochs, ours.train_cfg.max_epochs, asks.budget) == (20, 5, 30)


def test_a_length_goes_over_another(tmp_path):
    small = "dict(says='short', epochs=6, retrain_options=dict(epochs=2))"
    path = write(
        tmp_path,
        methods="['darts', dict(method='rdarts', options={'epochs': 3}, named='short')]",
        protocol="{'train_cfg.max_epochs': 20, 'schedule_epochs': 40}",
        limits='dict(epochs=4)',
        small=small,
        retrain="'darts_c10'",
        retrain_options="{'train_cfg.max_epochs': 9, 'limit': 5}",
    )

    def lengths(**given) -> list[tuple[int, int]]:
        plan = comparison_of([path], **given)
        loaded = [load(plan, entry) for entry in plan.configs]
        return [(cfg.train_cfg.max_epochs, cfg.schedule_epochs) for cfg in loaded]

    # of the study, of which a limit is the most: the schedule of 40 epochs for 20 goes with it
    assert lengths() == [(4, 8), (3, 6)]
    assert lengths(small=True) == [(4, 8), (4, 8)]  # the scale's 6 are above the limit
    assert lengths(small=True, cfg_options=['train_cfg.max_epochs=1']) == [(1, 8), (1, 8)]
    assert lengths(cfg_options=['epochs=2']) == [(2, 4), (2, 4)]
    plan = comparison_of([path], small=True)
    assert plan.retrain_options == ['limit=5', 'epochs=2']
    command = ['train_cfg.max_epochs=3', 'schedule_epochs=3']
    plan = comparison_of([path], small=True, retrain_options=command)
    assert plan.retrain_options == ['limit=5', *command]


def test_a_limit_of_time(tmp_path):
    own = "['darts', dict(method='rdarts', options={'max_seconds': 60})]"
    plan = comparison_of([write(tmp_path, limits='dict(seconds=600.5)', methods=own)])
    assert [load(plan, entry).max_seconds for entry in plan.configs] == [600.5, 60]
    path = write(tmp_path, limits='dict(seconds=600.5)', protocol="{'max_seconds': 900}")
    plan = comparison_of([path])
    assert [load(plan, entry).max_seconds for entry in plan.configs] == [600.5, 600.5]
    for given in ([path], ['a.py']):  # of the command it is over all
        plan = comparison_of(given, limit_seconds=30.0, cfg_options=['limit=64'])
        assert plan.options_of(plan.configs[0])[-2:] == ['max_seconds=30.0', 'limit=64']
    plan = comparison_of([path], limit_seconds=30.0)
    assert load(plan, plan.configs[0]).max_seconds == 30
    path = write(tmp_path, limits='dict(seconds=9)', protocol="{'max_seconds': 'x'}")
    with pytest.raises(UserError, match='max_seconds'):
        plan = comparison_of([path])
        load(plan, plan.configs[0])


def test_retraining_by_data(tmp_path):
    plan = comparison_of([str(CONFIGS / 'studies' / 'cifar.py')], methods=['darts'])
    found = {Path(entry).stem: Path(plan.retrain_of(entry)).stem for entry in plan.configs}
    assert found == dict(darts_darts_c10='darts_c10', darts_darts_c100='darts_c100')
    ours = comparison_of([write(
        tmp_path,
        methods="['rdarts_darts_c100', 'rdarts_darts_c10_ramp', 'rdarts_nb201_in16']",
        retrain="dict(c10='darts_c10', c100='darts_c100')",
    )])  # fmt: skip
    found = {Path(entry).stem: ours.retrain_of(entry) for entry in ours.configs}
    stems = [path and Path(path).stem for path in found.values()]
    assert stems == ['darts_c100', 'darts_c10', None]
    other = str(CONFIGS / 'retrain' / 'darts_c10_16x8.py')
    plan = comparison_of([str(CONFIGS / 'studies' / 'cifar.py')], retrain=other)
    assert plan.trainings == [other]


def test_what_does_not_fit_is_absent_and_the_rest_goes_on():
    plan = comparison_of([], methods=['darts', 'dots'], space=['nb201'], data=['c10'])
    assert names(plan) == ['darts_nb201_c10']
    reason = plan.absent['dots_nb201_c10']
    assert reason.startswith('dots does not fit nb201: it chooses pairs of edges of a cell, and')
    plan = comparison_of([], methods=['darts'], space=['nb201', 's1'], data=['c10', 'in16'])
    assert names(plan) == ['darts_nb201_c10', 'darts_nb201_in16', 'darts_s1_c10']
    assert plan.absent == dict(darts_s1_in16='there is no s1 on in16, but on c10, c100')
    table = Table('methods', 'Accuracy', ['method', 'seeds'], [['darts_nb201_c10', '3']])
    plan = Comparison([], '', absent=dict(x='it is none'), remark='small: ten images')
    (table,), note = with_remarks(plan, [table], 'Note.\n')
    assert table.title == 'Accuracy; small: ten images'
    assert table.rows == [['darts_nb201_c10', '3'], ['x', '-']]
    assert note == 'Note.\n\nx: no run: it is none\n'


def test_rows_without_a_run_are_parts_as_the_others_are(tmp_path):
    path = write(
        tmp_path,
        methods="['darts', 'dots', dict(method='pdarts', named='own')]",
        spaces="['nb201', 's1']",
        data="['c10', 'in16']",
        absent="dict(nasnet='it is no method here', dots_nb201_c10='it was not tried')",
    )

    def absent(**parts: list[str]) -> list[str]:
        return list(comparison_of([path], **parts).absent)

    plan = comparison_of([path])
    assert plan.absent['dots_nb201_c10'] == 'it was not tried' and 'nasnet' in plan.absent
    assert plan.absent['darts_s1_in16'] == 'there is no s1 on in16, but on c10, c100'
    assert absent(space=['nb201']) == ['dots_nb201_c10', 'dots_nb201_in16', 'nasnet']
    assert absent(space=['nb201'], data=['c10']) == ['dots_nb201_c10', 'nasnet']
    assert absent(methods=['pdarts']) == ['pdarts_s1_in16_own']
    assert absent(methods=['darts', 'nasnet'], data=['in16']) == ['darts_s1_in16', 'nasnet']
    # a method that has searches in one space, and none in another
    plan = comparison_of([path], methods=['dots'], data=['c10'])
    assert names(plan) == ['dots_s1_c10'] and list(plan.absent) == ['dots_nb201_c10']
    with pytest.raises(UserError, match='nothing is to be searched: dots_nb201_c10: it was not'):
        comparison_of([path], methods=['dots'], space=['nb201'])
    with pytest.raises(UserError, match='nothing is to be searched: nasnet: it is no method'):
        comparison_of([path], methods=['nasnet'])


def test_a_study_may_have_helpers(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        'import math\nfrom pathlib import Path\n\n\nclass Kind:\n    pass\n\n\n'
        "def of(space):\n    return [space]\n\n\nstudy = dict(methods=['darts'], "
        "spaces=of('nb201'), data=['c10'], seeds=math.isqrt(4))\n"
    )
    plan = comparison_of([str(path)])
    assert names(plan) == ['darts_nb201_c10'] and plan.seeds == 2


def test_a_study_may_be_annotated(tmp_path):
    path = Path(write(tmp_path))
    path.write_text(path.read_text().replace('study =', 'study: dict ='))
    assert names(comparison_of([str(path)])) == ['darts_nb201_c10', 'rdarts_nb201_c10']
    path.write_text('study: dict\n')
    assert not is_study(path)


def test_what_is_no_file_is_no_study(tmp_path):
    large, pipe, found = tmp_path / 'large.py', tmp_path / 'pipe.py', []
    large.write_text('study = dict()\n' + '#' * 2**22)
    assert not is_study(large) and not is_study(tmp_path)
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(is_study(pipe)), daemon=True)
    reader.start()
    reader.join(20)  # it would wait for ever
    assert found == [False]


def test_checkpoints_do_not_go_with_a_retraining_that_the_study_has():
    cifar = str(CONFIGS / 'studies' / 'cifar.py')
    plan = comparison_of([cifar], methods=['darts'], checkpoints='x')
    with pytest.raises(UserError, match='--checkpoints is .* and instead of study.retrain'):
        check(plan)


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(sedes='3'), "study has no key 'sedes': did you mean 'seeds'?"),
        (dict(seeds='0'), 'study.seeds must be 1 or more, but is 0'),
        (dict(seeds="'3'"), "study.seeds must be a whole number, but is '3'"),
        (dict(seeds='True'), 'study.seeds must be a whole number, but is True'),
        (dict(first_seed='-1'), 'study.first_seed must be 0 or more, but is -1'),
        (dict(protocol="'ours'"), "study.protocol must be 'own' or a dict of options, but is"),
        (dict(limits='dict(epoch=3)'), "study.limits has no key 'epoch': did you mean 'epochs'?"),
        (dict(limits='dict(seconds=0)'), 'study.limits.seconds must be above 0, but is 0'),
        (dict(limits="dict(seconds='1')"), 'study.limits.seconds must be a finite number, but'),
        (dict(small='dict(epochs=3)'), 'study.small.says is missing: what the tables say of'),
        (dict(small="dict(says='x', epochs=0)"), 'study.small.epochs must be 1 or more, but is 0'),
        (dict(absent='dict(nasnet="")'), "study.absent.nasnet must say why, but is ''"),
        (dict(retrain="'darts_c1O'"), "study.retrain: there is no 'darts_c1O': did you mean"),
        (dict(kind="'memry'"), "study.kind: there is no 'memry': did you mean 'memory'"),
        (dict(kind='3'), "study.kind: there is no '3': known: "),
        (dict(kind="['memory']"), "study.kind: there is no '['memory']': "),
        (dict(protocol="{'train_cfg.epoch': 3}"), None),
        (dict(retrain="dict(c10=['x'])"), "study.retrain.c10 must be the name of a config, but is"),
        (dict(retrain="dict(c1O='darts_c10')"),
         "study.retrain: no search has the data 'c1O': did you mean 'c10'?"),
        (dict(small="dict(says='x', by_data=dict(c10=3))"),
         'study.small.by_data.c10 must be a dict, but is 3'),
        (dict(small="dict(says='x', by_data=dict(c1O=dict(limit=3)))"),
         "study.small.by_data: no search has the data 'c1O': did you mean 'c10'?"),
        (dict(protocol='{3: 1}'), 'study.protocol must have keys of a config, but has 3'),
        (dict(methods="[dict(method='darts', options={3: 1})]"),
         'study.methods.options must have keys of a config, but has 3'),
        (dict(retrain_options="{' ': 1}"),
         "study.retrain_options must have keys of a config, but has ' '"),
        (dict(small="dict(says='x', options={None: 1})"),
         'study.small.options must have keys of a config, but has None'),
        (dict(small="dict(says='x', by_data=dict(c10={3: 1}))"),
         'study.small.by_data.c10 must have keys of a config, but has 3'),
        (dict(absent="{3: 'x'}"), 'study.absent must have names, but has 3'),
        (dict(absent="dict(darts='x')"), 'study.absent: darts is run: leave it out of absent'),
        (dict(absent="dict(rdarts_nb201_c10='x')"), 'study.absent: rdarts_nb201_c10 is run: leave'),
        (dict(methods="[dict(method='darts', named='a/b')]"),
         'study.methods: named must be of letters, digits and . _ -, as it is part of a folder, '
         "but is 'a/b'"),
    ],
)  # fmt: skip
def test_a_wrong_key(tmp_path, keys, message):
    path = write(tmp_path, **keys)
    with pytest.raises(UserError) as error:
        plan = comparison_of([path])
        for entry in plan.configs:  # options are checked as of any search
            load(plan, entry)
    assert '\n' not in str(error.value)
    assert message is None or str(error.value).startswith(f'{path}: {message}')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('study = 3', 'study must be a dict, but is 3'),
        ("study = dict(methods=['darts'], spaces=['nb201'])", 'study.data is missing: a list of'),
        ("study = dict(methods=[3], spaces=['nb201'], data=['c10'])", 'must hold names or dicts'),
        ("study = dict(methods=[dict(named='x')], spaces=['nb201'], data=['c10'])", 'no method'),
        ("study = dict(methods=['rdrts'], spaces=['nb201'], data=['c10'])",
         "there is no method 'rdrts': did you mean 'rdarts'"),
        ("study = dict(methods=['darts'], spaces=['nb2O1'], data=['c10'])",
         "study.spaces: there is no 'nb2O1': did you mean 'nb201'"),
        ("study = dict(methods=['darts'], spaces=['nb201'], data=['c1O'])",
         "study.data: there is no 'c1O': did you mean 'c10'"),
        ("study = dict(methods=['darts', 'darts'], spaces=['nb201'], data=['c10'])",
         'darts_nb201_c10 is there twice'),
        ("study = dict(methods=['dots'], spaces=['nb201'], data=['c10'])",
         'nothing is to be searched: dots_nb201_c10: dots does not fit nb201'),
        ('study = dict()\nmodel = dict()', "beside 'study' there is 'model'"),
        ('from pathlib import Path\nstudy = dict()\nmore = Path()', "there is 'more'"),
        ('study = dict(x=1 / 0)', 'cannot be read: division by zero'),
    ],
)  # fmt: skip
def test_a_wrong_file(tmp_path, text, message):
    path = tmp_path / 'mine.py'
    path.write_text(text + '\n')
    with pytest.raises(UserError, match=message) as error:
        comparison_of([str(path)])
    assert '\n' not in str(error.value)


def test_a_wrong_command(tmp_path):
    study, config = write(tmp_path), str(CONFIGS / 'search' / 'darts_nb201_c10.py')
    for given, message in (
        (dict(configs=[]), 'there is no --methods'),
        (dict(configs=[], methods=['darts'], space=['nb201']), 'there is no --data'),
        (dict(configs=[config], methods=['darts']), '--methods is of a study, but configs are'),
        (dict(configs=[config], small=True), '--small is of a study, but configs are given'),
        (dict(configs=['configs/studies/tabel1.py'], small=True),
         "config not found: configs/studies/tabel1.py: did you mean '"),
        (dict(configs=['table1'], methods=['darts']), "studies/table1.py'?"),
        (dict(configs=[study, 'a.py']), f'{study} is a study: it is run alone'),
        (dict(configs=[study], limit_seconds=0.0), '--limit-seconds must be above 0, but is 0'),
        (dict(configs=[config], limit_seconds=9.0, cfg_options=['max_seconds=3']),
         '--limit-seconds is max_seconds of --cfg-options: give one of them'),
        (dict(configs=[config], limit_seconds=9.0, checkpoints='x'),
         '--limit-seconds is of searches: --checkpoints searches nothing'),
        (dict(configs=[study], small=True), f'--small: {study} has no small'),
        (dict(configs=[], methods=['darts'], space=['s1'], data=['c10'], small=True),
         '--small of methods on the command line is for nb201, but --space is s1: a study says'),
        (dict(configs=[study], methods=['drts']), "the study has no 'drts': did you mean 'darts'"),
        (dict(configs=[study], space=['s1']), "--space: the study has no 's1': known: nb201"),
        (dict(configs=[], methods=['drts'], space=['nb201'], data=['c10']),
         "--methods: there is no method 'drts': did you mean 'darts'"),
        (dict(configs=[], methods=['darts'], space=['nb'], data=['c10']),
         "--space: there is no 'nb': "),
    ):  # fmt: skip
        with pytest.raises(UserError) as error:
            comparison_of(**given)
        assert message in str(error.value) and '\n' not in str(error.value)
