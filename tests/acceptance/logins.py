"""Logins that have one of our roles and nothing else."""

from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from reconciler.postgres.statements import sql_folder
from tests.acceptance.program import Program, Town


def as_login(town: Town, program: Program, role: str) -> Program:
    """The program under a login that has this role, as `sql/roles.sql` makes it."""
    roles = (sql_folder() / "roles.sql").read_text(encoding="utf-8")
    login = f"{role}_{urlsplit(town.dsn).path.strip('/')}"
    with psycopg.connect(town.dsn, autocommit=True) as connection:
        for _ in range(2):
            connection.execute(roles.encode())
        connection.execute(f'CREATE ROLE "{login}" LOGIN IN ROLE {role}'.encode())
    parts = urlsplit(town.dsn)
    netloc = f"{quote(login)}@{parts.netloc.rpartition('@')[2]}"
    return Program({**program.settings, "RECONCILER_DATABASE_URL": urlunsplit(parts._replace(netloc=netloc))})
