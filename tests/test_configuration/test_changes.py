from __future__ import annotations

from rdarts.configuration.changes import changes


def test_what_a_run_computes_is_named():
    before = dict(
        default_hooks=dict(architect=dict(lambda_=0.75), logger=dict(interval=1)),
        train_dataloader=dict(batch_size=64, num_workers=2),
        work_dir='a',
    )
    now = dict(
        default_hooks=dict(architect=dict(lambda_=0.5), logger=dict(interval=9)),
        train_dataloader=dict(batch_size=32, num_workers=0),
        train_cfg=dict(max_epochs=3),
        work_dir='b',
    )
    assert changes(before, now) == [
        'train_dataloader.batch_size 64 -> 32',
        "train_cfg None -> {'max_epochs': 3}",
        'default_hooks.architect.lambda_ 0.75 -> 0.5',
    ]
    assert changes(before, before) == []


def test_what_the_checkpoint_decides_is_said_to_have_no_effect():
    before = dict(
        optim_wrapper=dict(optimizer=dict(lr=0.1), clip_grad=dict(max_norm=5)),
        param_scheduler=dict(T_max=10),
    )
    now = dict(
        optim_wrapper=dict(optimizer=dict(lr=0.2), clip_grad=dict(max_norm=3)),
        param_scheduler=[dict(T_max=10)],
    )
    kept = ' (no effect: the one of the checkpoint goes on)'
    assert changes(before, now) == [
        f'optim_wrapper.optimizer.lr 0.1 -> 0.2{kept}',
        'optim_wrapper.clip_grad.max_norm 5 -> 3',
        f"param_scheduler {{'T_max': 10}} -> [{{'T_max': 10}}]{kept}",
    ]


def test_a_run_that_was_compiled_and_is_so_no_longer():
    assert changes(dict(compile=True), dict()) == ['compile True -> None']
    before = dict(compile=dict(backend='eager'))
    assert changes(before, dict(compile=dict(backend='inductor'))) == [
        "compile.backend 'eager' -> 'inductor'"
    ]
