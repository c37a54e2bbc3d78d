"""What watches a search, besides the default hooks."""

_base_ = ['./default_runtime.py']

default_hooks = dict(
    # takes `arch_dataloader` and `arch_optimizer` of the config, unless it is given its own
    architect=dict(
        type='rdarts.ArchitectHook',
        start_epoch=0,
        # `default_hooks.architect.lambda_` is its factor
        regularizers=dict(ber=dict(type='rdarts.BatchEntropyDecay', lambda_=0)),
    ),
    execution=dict(type='rdarts.ExecutionHook'),
    genotype=dict(type='rdarts.GenotypeHook'),
    alpha_statistics=dict(type='rdarts.AlphaStatisticsHook'),
    search_log=dict(type='rdarts.SearchLogHook', interval=10),
    time_to_go=dict(type='rdarts.TimeToGoHook'),
    report=dict(type='rdarts.ReportHook'),
    split_record=dict(type='rdarts.SplitRecordHook'),
)
