"""`reconciler demo`: an embedded Postgres, a simulated Cronofy and a made-up company, worked by the real commands."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.commands.terminal import Exit, complain, say
from reconciler.commands.working import stopping
from reconciler.ports import RunStopped
from reconciler.postgres.embedded import embedded_postgres
from reconciler.postgres.loader import load_rows
from reconciler.simulator import Simulator, server
from reconciler.simulator.scenarios import Company, company

_GENERATION_S = 3.0
"""A little longer than the simulator takes to make a link."""


def simulate(host: str, port: int, scene_path: str | None, seed: int) -> Exit:
    """`reconciler simulate`: serve until interrupted."""
    try:
        asyncio.run(server.serve(host, port, scene_path, None, seed))
    except KeyboardInterrupt:
        return Exit.DONE
    except (ValueError, OSError, KeyError, TypeError) as error:
        complain(f"simulate: {error}")
        return Exit.USAGE
    return Exit.DONE


def demonstrate(output: str, *, keep: bool) -> Exit:
    """Show the main job on made-up data; everything it starts ends with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with embedded_postgres() as dsn:
            try:
                Path(output).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                complain(f"--output {output}: {error.strerror}")
                return Exit.USAGE
            end = asyncio.run(_demonstrate(dsn, Path(output), keep=keep))
    except RunStopped as error:
        complain(str(error))
        return Exit.CONFIGURATION
    except KeyboardInterrupt:
        complain("the demo was stopped before its end; its servers are gone")
        return Exit.STOPPED
    if keep:
        say("\nThe servers are gone, and with them all that they held.")
    return end


async def _demonstrate(dsn: str, output: Path, *, keep: bool) -> Exit:
    scene = company(datetime.now(UTC))
    async with stopping() as stop, Simulator(scene.world) as cronofy:
        environment = {
            "RECONCILER_DATABASE_URL": dsn,
            "RECONCILER_CRONOFY_URL": cronofy.url,
            "RECONCILER_CRONOFY_CLIENT_ID": scene.world.settings.client_id,
            "RECONCILER_CRONOFY_CLIENT_SECRET": scene.world.settings.client_secret,
            "RECONCILER_RATE_PER_SECOND": "400",
            "RECONCILER_RATE_PER_MINUTE": "20000",
            "RECONCILER_LOG_LEVEL": "error",
        }
        await _unless(stop, _tell(dsn, environment, scene, output))
        if keep:
            _invite(environment, scene)
            await stop.wait()
    return Exit.DONE


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work; told to stop before its end, cut it off.

    Raises:
        KeyboardInterrupt: it was.
    """
    task, told = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        raise KeyboardInterrupt
    task.result()


async def _tell(dsn: str, environment: Mapping[str, str], scene: Company, output: Path) -> None:
    """The story, from an empty database to the proof."""
    say("1. A database of our own, migrated, with a made-up company: "
        f"{len(scene.accounts)} accounts, {len(scene.events)} events")  # fmt: skip
    await _command(environment, "migrate")
    await load_rows(dsn, scene.accounts, scene.events)
    say("\n2. The nightly run: reconciler run")
    first = json.loads(await _command(environment, "run", "--run-key", "demo", "--json", expect={0, 3}))
    await _show(environment, scene, first)
    await _reports(environment, first["run_id"], output)
    await asyncio.sleep(_GENERATION_S)
    say("\n3. The next run confirms what was repaired: reconciler run")
    say(await _command(environment, "run", expect={0, 3}))
    say("4. The trail proves itself: reconciler audit verify, reconciler audit replay")
    say((await _command(environment, "audit", "verify")).strip())
    say((await _command(environment, "audit", "replay")).strip())
    say(
        f"\nLook at {output}/report.html and report.csv: the nightly run by account manager, what is at risk, what "
        "waits for whom, what was repaired."
    )
    say(
        "Next: the project's README.md tells how to connect your own database; `reconciler demo --keep` lets you"
        " try commands."
    )


async def _show(environment: Mapping[str, str], scene: Company, summary: Mapping[str, Any]) -> None:
    for cause, number in summary["causes"].items():
        say(f"   {number:>4}  {cause:<24} {scene.storyline.get(cause, '')}")
    done = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in summary["outcomes"].items() if n)
    say(f"   {done}, {summary['notices']['queued']} notices queued, {summary['requests']['total']} requests")
    for error in summary["errors"]:
        say(f"   left for the next run: {error['account_id']} ({error['kind']})")
    repaired = next((key for key, cause in scene.expected.items() if cause == "profile_removed"), None)
    if repaired is not None:
        say("\n   One event's story: reconciler explain " + " ".join(repaired))
        text = await _command(environment, "explain", *repaired)
        say("\n".join(f"   {line}" for line in text.strip().splitlines()))


async def _reports(environment: Mapping[str, str], run_id: str, output: Path) -> None:
    for form in ("html", "csv"):
        await _command(environment, "report", "--run", run_id, "--format", form, "-o", str(output / f"report.{form}"))


def _invite(environment: Mapping[str, str], scene: Company) -> None:
    """What to try while the servers run."""
    say("\nThe servers run until Ctrl-C. In another terminal:")
    for name, value in environment.items():
        say(f"export {name}='{value}'")
    puzzles = {key for key, cause in scene.expected.items() if cause == "unexplained"} - set(scene.expected_second_run)
    lost = next(row for row in scene.events if (row["calendar_id"], row["event_id"]) in puzzles)
    person = next(row["name"] for row in scene.accounts if row["account_id"] == lost["account_id"])
    profile = f"/control/accounts/{lost['account_id']}/profiles/{lost['profile_id']}"
    say(f"\nThe repairs are made. To see another one, take {person}'s Zoom away, then look and run again:")
    say(f"curl -X DELETE {environment['RECONCILER_CRONOFY_URL']}{profile}")
    say("reconciler run --dry-run -v --starting-before 60d --cause unexplained")


async def _command(
    environment: Mapping[str, str], *words: str, expect: frozenset[int] | set[int] = frozenset({0})
) -> str:
    """Run the real program; its stdout."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RECONCILER_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "reconciler", *words,
        env={**inherited, **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    if process.returncode not in expect:
        raise RunStopped(
            f"reconciler {words[0]} ended with {process.returncode}: {(err or out).decode().strip()[-500:]}"
        )
    return out.decode()
