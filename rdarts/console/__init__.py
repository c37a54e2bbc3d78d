"""The command ``rdarts``: a table of subcommands, each of which is a tool of ``tools/``."""
