"""The database adapter: the only package that speaks SQL. Statements live in `sql/queries/*.sql`."""
