"""Where and when figures were taken, for the documents that hold them."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def machine() -> str:
    """`on DATE at revision …: cores, Python, server.`"""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"on {datetime.now(UTC):%Y-%m-%d} at revision {revision}: {os.cpu_count()} cores ({model}), "
        f"Python {platform.python_version()}, the embedded PostgreSQL, everything on one machine."
    )
