"""`reconciler migrate`: the schema brought up to date."""

from reconciler.commands.terminal import Exit, say
from reconciler.config import Settings
from reconciler.domain.plural import many
from reconciler.postgres.migrate import migrate


def migrate_command(settings: Settings) -> Exit:
    """`reconciler migrate`."""
    done = migrate(settings.dsn())
    for name in done.applied:
        say(f"applied {name}")
    say(f"{many(len(done.applied), 'migration')} applied, {done.before} had been applied before")
    return Exit.DONE
