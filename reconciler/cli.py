"""The command line: options in, exit codes out. Heavy imports stay inside the commands, so that help is quick."""

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from reconciler import __version__
from reconciler.commands.streams import guard
from reconciler.commands.words import Duration, EventName, Identifier, Moment, RunName, Seal, Text
from reconciler.domain.casework import Scope
from reconciler.domain.cause import Cause
from reconciler.domain.ids import CalendarId, EventId, EventKey
from reconciler.domain.visible import visible
from reconciler.ports import WrongConfiguration

if TYPE_CHECKING:
    from reconciler.commands.terminal import Exit
    from reconciler.config import Settings

F = TypeVar("F", bound=Callable[..., Any])
CONFIGURATION = 78

EXIT_CODES = """\b
Exit codes:
  0   everything in scope was looked at
  1   internal error
  2   wrong usage
  3   finished, but some accounts could not be read or written
  4   refused by a safety limit; the plan is kept for `apply`
  5   stopped early (deadline or SIGTERM); the rest stays due
  69  Postgres or Cronofy cannot be reached at all
  75  the run of this key is finished or under way
  78  wrong configuration
"""


class Program(click.Group):
    """The group of all commands; whatever any of them writes goes through the guarded streams, one error a line."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Parse the words and carry the command out."""
        guard()
        return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Parse the words of this program."""
        with _errors_on_one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse the words of the command, and carry it out."""
        with _errors_on_one_line():
            return super().invoke(ctx)


@contextmanager
def _errors_on_one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise click.UsageError(visible(error.format_message()), error.ctx) from None


def scope_options(command: F) -> F:
    """The options that limit a run."""

    def several(flag: str, name: str, help_text: str, metavar: str = "ID") -> Callable[[F], F]:
        return click.option(flag, name, multiple=True, type=Identifier(), metavar=metavar, help=help_text)

    for option in (
        click.option(
            "--cause",
            "causes",
            multiple=True,
            type=click.Choice([c.value for c in Cause]),
            metavar="CAUSE",
            help="Only events last found to have this cause.",
        ),
        click.option("--written-before", type=Moment(ahead=False), help="Only events last written before T."),
        click.option("--written-after", type=Moment(ahead=False), help="Only events last written since T (24h: ago)."),
        click.option("--starting-after", type=Moment(ahead=True), help="Only events that start at T or later."),
        click.option(
            "--starting-before", type=Moment(ahead=True), help="Only events that start before T (48h: ahead)."
        ),
        click.option(
            "--event",
            "events",
            multiple=True,
            type=EventName(),
            help="Only this event (CALENDAR_ID/EVENT_ID; ids as for `explain`).",
        ),
        several("--profile", "profiles", "Only events that ask for this profile."),
        several(
            "--provider", "providers", "Only events of this video provider (zoom …), or of one not known yet.", "NAME"
        ),
        several("--manager", "managers", "Only this account manager's accounts.", "NAME"),
        several("--customer", "customers", "Only this customer's accounts.", "NAME"),
        several("--account", "accounts", "Only this account (acc_…); like most scope options, may be repeated."),
    ):
        command = option(command)
    return command


SCOPE_NAMES = (
    "accounts", "customers", "managers", "providers", "profiles", "events", "causes",
    "starting_before", "starting_after", "written_before", "written_after",
)  # fmt: skip


def _scope(options: dict[str, Any]) -> Scope:
    limits = {name: options.pop(name) for name in SCOPE_NAMES}
    return Scope(**{**limits, "events": tuple(key for keys in limits["events"] for key in keys)})


def _settings() -> "Settings":
    """The settings, with logs set up by them; wrong ones end the program."""
    from reconciler.commands.streams import drawn_on  # noqa: PLC0415
    from reconciler.commands.terminal import complain  # noqa: PLC0415
    from reconciler.config import load_settings, unknown_settings  # noqa: PLC0415
    from reconciler.telemetry import configure_logs  # noqa: PLC0415

    try:
        settings = load_settings()
    except WrongConfiguration as error:
        complain(str(error))
        sys.exit(CONFIGURATION)
    configure_logs(settings.log_format, settings.log_level, drawn_on())
    for name in unknown_settings():
        complain(f"{name} is no setting of this version; ignored")
    return settings


def _finish(work: Coroutine[Any, Any, "Exit"]) -> NoReturn:
    """Carry a command out, and end the program with its exit code."""
    from reconciler.commands.terminal import guarded  # noqa: PLC0415

    sys.exit(guarded(work))


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


@click.group(
    cls=Program, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="reconciler")
def main() -> None:
    """Find calendar events that have no video link yet, say why, and repair what can be repaired safely.

    Settings come from the environment: RECONCILER_DATABASE_URL, RECONCILER_CRONOFY_CLIENT_ID and _CLIENT_SECRET at
    least (docs/settings.md of the project lists all).
    """


@main.command(name="run")
@scope_options
@click.option("--dry-run", is_flag=True, help="Write nothing to Cronofy and decide nothing in the database.")
@click.option("--max-duration", type=Duration(), help="Stop taking accounts after this long (50m).")
@click.option("--reason", type=Text(), help="Why this run was started; its books call it on demand then.")
@click.option("--run-key", type=Identifier(), help="Runs of the same key are done once and resumed if interrupted.")
@click.option("--recheck-assigned", "recheck", is_flag=True, help="Also look at events that have their link.")
@click.option("--verify-after", type=Duration(), help="Look again at what was repaired, this long after (2m).")
@click.option("-v", "--verbose", is_flag=True, help="One line per remedy on stderr.")
@as_json
def run_(**options: Any) -> None:
    """Read the due events back, find the cause of each without a link, repair, queue notices."""
    from reconciler.commands.run import run_command  # noqa: PLC0415
    from reconciler.commands.working import RunOptions  # noqa: PLC0415

    settings = _settings()
    _finish(run_command(settings, RunOptions(scope=_scope(options), **options)))


@main.command()
@scope_options
@click.option("--recheck-assigned", "recheck", is_flag=True, help="Also look at events that have their link.")
@click.option("-v", "--verbose", is_flag=True, help="One line per remedy on stderr.")
@as_json
def plan(**options: Any) -> None:
    """The same as run without writing to Cronofy; stores the plan and prints what it would do and cost."""
    from reconciler.commands.run import plan_command  # noqa: PLC0415
    from reconciler.commands.working import RunOptions  # noqa: PLC0415

    settings = _settings()
    order = RunOptions(scope=_scope(options), dry_run=True, **options)
    _finish(plan_command(settings, order))


@main.command()
@click.argument("plan_id", type=RunName())
@as_json
def apply(plan_id: Any, as_json: bool) -> None:
    """Carry out a stored plan, and only what in it still holds."""
    from reconciler.commands.guided import apply_command  # noqa: PLC0415

    _finish(apply_command(_settings(), plan_id, as_json=as_json))


@main.command()
@click.argument("run_id", type=RunName())
@as_json
def undo(run_id: Any, as_json: bool) -> None:
    """Put back what a run changed, only where the event is as the run left it and has no link yet."""
    from reconciler.commands.guided import undo_command  # noqa: PLC0415

    _finish(undo_command(_settings(), run_id, as_json=as_json))


@main.command()
@click.argument("calendar_id", type=Text())
@click.argument("event_id", type=Identifier(), required=False)
@as_json
def explain(calendar_id: str, event_id: str | None, as_json: bool) -> None:
    """One event's whole story, from the audit trail. CALENDAR_ID/EVENT_ID, as other commands print it, will do too.

    Ids may hold any character. One that a shell or a terminal spoils can be written as a JSON string in quotes, as
    --json prints it: '"cal/1"' '"line\\nbreak"', or '"cal/1"/"evt 2"' in one word. Before ids that begin with a
    dash stands --.
    """
    from reconciler.commands.looking import explain_command  # noqa: PLC0415

    if event_id is not None:
        calendar = CalendarId(Identifier().convert(calendar_id, None, None))
        keys: tuple[EventKey, ...] = (EventKey(calendar, EventId(event_id)),)
    elif "/" in calendar_id:
        keys = EventName().convert(calendar_id, None, None)
    else:
        raise click.UsageError("Missing argument 'EVENT_ID'.")
    _finish(explain_command(_settings(), keys, as_json=as_json))


@main.command()
@click.option("--run", "run_id", type=RunName(), help="What this run looked at.")
@click.option("--since", type=Moment(ahead=False), help="Repairs since T (7d: ago).")
@click.option("--until", type=Moment(ahead=False), help="Repairs until T; now, if not given.")
@click.option("--manager", "managers", multiple=True, type=Identifier(), metavar="NAME", help="Only this manager.")
@click.option("--customer", "customers", multiple=True, type=Identifier(), metavar="NAME", help="Only this customer.")
@click.option("--format", "form", type=click.Choice(["html", "csv", "json"]), default="html", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file; else stdout.")
def report(
    run_id: Any,
    since: datetime | None,
    until: datetime | None,
    managers: tuple[str, ...],
    customers: tuple[str, ...],
    form: str,
    output: str | None,
) -> None:
    """Per account manager: what is at risk, what waits for whom, what was repaired.

    Either for one run (--run), or for a period (--since, --until).
    """
    from pathlib import Path  # noqa: PLC0415

    from reconciler.commands.looking import report_command  # noqa: PLC0415
    from reconciler.postgres.report_reader import ReportQuery  # noqa: PLC0415

    try:
        query = ReportQuery(run_id=run_id, since=since, until=until, manager=managers, customer=customers)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    target = Path(output) if output else None
    _finish(report_command(_settings(), query, form, target))


@main.command()
@as_json
def status(as_json: bool) -> None:
    """Runs under way, due work, budget left, open notices and incidents."""
    from reconciler.commands.looking import status_command  # noqa: PLC0415

    _finish(status_command(_settings(), as_json=as_json))


@main.group()
def audit() -> None:
    """Prove the audit trail."""


@audit.command()
@click.option("--seal", "seals", type=Seal(), multiple=True, help="From a log or a report: the trail must hold it.")
@as_json
def verify(seals: tuple[str, ...], as_json: bool) -> None:
    """Check that no entry was changed, removed, inserted or appended beside the runs' seals."""
    from reconciler.commands.looking import verify_command  # noqa: PLC0415

    _finish(verify_command(_settings(), seals, as_json=as_json))


@audit.command()
@click.option("--run", "run_id", type=RunName(), help="Only the verdicts of this run.")
@as_json
def replay(run_id: Any, as_json: bool) -> None:
    """Feed the stored evidence to the classifier and compare cause and remedy."""
    from reconciler.commands.looking import replay_command  # noqa: PLC0415

    _finish(replay_command(_settings(), run_id, as_json=as_json))


@main.command()
def migrate() -> None:
    """Bring the database's schema up to date; safe to start twice at once."""
    from reconciler.commands.migrate import migrate_command  # noqa: PLC0415

    settings = _settings()

    async def work() -> "Exit":
        return migrate_command(settings)

    _finish(work())


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback only.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--scene",
    "scene_path",
    type=click.Path(exists=True, dir_okay=False),
    help="JSON file (docs/simulator.md of the project).",
)
@click.option("--seed", default=1, show_default=True)
def simulate(host: str, port: int, scene_path: str | None, seed: int) -> None:
    """Serve a local Cronofy for development; prints its URL."""
    from reconciler import demo  # noqa: PLC0415

    sys.exit(demo.simulate(host, port, scene_path, seed))


@main.command()
@click.option("--output", default="demo-out", show_default=True, help="Folder for the reports.")
@click.option("--keep", is_flag=True, help="Leave the servers running until Ctrl-C, to try other commands.")
def demo(output: str, keep: bool) -> None:
    """Embedded Postgres, simulated Cronofy, a believable company: a run and its report."""
    from reconciler import demo as demonstration  # noqa: PLC0415

    sys.exit(demonstration.demonstrate(output, keep=keep))
