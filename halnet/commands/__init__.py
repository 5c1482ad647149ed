"""The command line: the group `halnet` and its commands, with one file for each command."""

from halnet.commands.main import COMMANDS, bench_main, export_main, group, main, run

__all__ = ["COMMANDS", "bench_main", "export_main", "group", "main", "run"]
