"""In what ways a search step is run where it is measured."""

EXECUTIONS = ('plain', 'plain_channels_last', 'fused')
