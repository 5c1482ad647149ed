"""The command line: `halnet` and its commands, each in a file of its own."""

from halnet.commands.main import COMMANDS, bench_main, export_main, group, main, run

__all__ = ["COMMANDS", "bench_main", "export_main", "group", "main", "run"]
