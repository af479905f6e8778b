"""The ``nbnumba`` command, a module a subcommand."""
