-- The application's side: what it tells the reconciler. Either relation may be a view of the application's own tables
-- instead; then the table is not made here, and its indexes are the application's affair.

CREATE SCHEMA IF NOT EXISTS reconciler;

CREATE TABLE IF NOT EXISTS reconciler.accounts (
    account_id       text PRIMARY KEY,
    data_center      text NOT NULL DEFAULT 'us',
    access_token     text,
    refresh_token    text,
    token_expires_at timestamptz,
    name             text,
    email            text,
    customer         text,
    account_manager  text,
    state            text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'parked')),
    parked_reason    text,
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS reconciler.events (
    calendar_id  text NOT NULL,
    event_id     text NOT NULL,
    account_id   text NOT NULL,
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz,
    profile_id   text,
    body         jsonb,
    written_at   timestamptz NOT NULL DEFAULT now(),
    cancelled_at timestamptz,
    PRIMARY KEY (calendar_id, event_id)
);

DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'reconciler.events'::regclass) = 'r' THEN
        CREATE INDEX IF NOT EXISTS events_asking_by_start ON reconciler.events (starts_at)
            WHERE cancelled_at IS NULL AND profile_id IS NOT NULL AND profile_id NOT IN ('none', 'explicit');
        CREATE INDEX IF NOT EXISTS events_by_account ON reconciler.events (account_id, starts_at);
    END IF;
END
$$;
