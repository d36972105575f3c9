"""How `poplift --help` lists the commands: in sections, in the order in which they are needed."""

from typing import Any

from typer.core import TyperGroup

SECTIONS = {
    "See it run": ("demo", "up"),
    "Step by step": ("init", "ingest", "features", "train", "promote", "release", "score", "monitor"),
    "Decide, and find out what it brought": ("effects", "plan", "decisions", "trace", "experiment", "off-policy"),
    "Keep it running": ("weekly", "retrain", "challenger", "rollback", "ledger", "backfill", "stream"),
    "The API": ("serve", "keys", "cost"),
    "Known truth, simulated": ("loop", "study", "simulate"),
}


class CommandList(TyperGroup):
    """A group whose help shows its commands under `SECTIONS`; KeyError when one of them is no command."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section after the other, every line as wide as the longest name asks."""
        width = max(map(len, self.list_commands(ctx)))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), self.commands[name]) for name in names]
                formatter.write_dl(
                    [(name, command.get_short_help_str(formatter.width - width - 6)) for name, command in rows]
                )
