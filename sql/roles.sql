-- Roles for running the reconciler with the least that it needs. Run once after `reconciler migrate`, as the owner of the
-- schema; running it again changes nothing. Grant each role to the login that uses it, which must exist before:
--   GRANT reconciler_worker TO nightly_login;
-- The worker appends to the audit trail and can neither change nor delete what is in it: docs/audit.md says what is proven
-- against it all the same. The console only reads.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_worker') THEN
        CREATE ROLE reconciler_worker NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler_console') THEN
        CREATE ROLE reconciler_console NOLOGIN;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA reconciler TO reconciler_worker, reconciler_console;

GRANT SELECT ON reconciler.accounts, reconciler.events TO reconciler_worker;
GRANT UPDATE (access_token, refresh_token, token_expires_at, state, parked_reason, updated_at)
    ON reconciler.accounts TO reconciler_worker;
GRANT UPDATE (profile_id, body) ON reconciler.events TO reconciler_worker;
-- What an earlier version of this file granted beyond what follows is taken back. In one transaction: no run is left without
-- its rights meanwhile.
BEGIN;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON
    reconciler.runs, reconciler.run_units, reconciler.run_held, reconciler.event_states, reconciler.known_profiles,
    reconciler.notices, reconciler.incidents, reconciler.notifications, reconciler.plans, reconciler.plan_items,
    reconciler.request_budget, reconciler.request_slots, reconciler.audit_entries
    FROM reconciler_worker;
GRANT SELECT ON
    reconciler.runs, reconciler.run_units, reconciler.run_held, reconciler.event_states, reconciler.known_profiles,
    reconciler.notices, reconciler.incidents, reconciler.notifications, reconciler.plans, reconciler.plan_items,
    reconciler.request_budget, reconciler.request_slots, reconciler.audit_entries
    TO reconciler_worker;
GRANT INSERT, UPDATE ON
    reconciler.run_units, reconciler.known_profiles, reconciler.notices, reconciler.incidents,
    reconciler.request_budget, reconciler.request_slots
    TO reconciler_worker;
GRANT UPDATE (looked_at) ON reconciler.notifications TO reconciler_worker;
GRANT INSERT, UPDATE, DELETE ON reconciler.run_held, reconciler.event_states TO reconciler_worker;
GRANT INSERT, DELETE ON reconciler.plan_items TO reconciler_worker;
GRANT INSERT, UPDATE (digest, summary) ON reconciler.plans TO reconciler_worker;
-- A run's books are opened, counted in and closed; what they say of how it was begun stays.
GRANT INSERT, UPDATE (status, finished_at, summary, planned_at, repairs, refusal) ON reconciler.runs TO reconciler_worker;
-- The trail: every column but `entry_id`, which the database gives. `at` is part of the hash and therefore the writer's word.
GRANT INSERT (run_id, at, tag, account_id, calendar_id, event_id, cause, remedy, outcome, evidence, before, after, prev_hash,
              hash, chain, seq) ON reconciler.audit_entries TO reconciler_worker;
COMMIT;

-- The functions of the schema run with the rights of whoever calls them: that everybody may call them gives nobody more.

GRANT SELECT (account_id, data_center, token_expires_at, name, email, customer, account_manager, state, parked_reason,
              updated_at) ON reconciler.accounts TO reconciler_console;
GRANT SELECT (calendar_id, event_id, account_id, starts_at, ends_at, profile_id, written_at, cancelled_at)
    ON reconciler.events TO reconciler_console;
GRANT SELECT ON
    reconciler.runs, reconciler.run_units, reconciler.run_held, reconciler.event_states, reconciler.known_profiles,
    reconciler.notices, reconciler.incidents, reconciler.notifications, reconciler.audit_entries, reconciler.plans,
    reconciler.plan_items, reconciler.request_budget, reconciler.request_slots
    TO reconciler_console;

-- The queue of the runs that many processes share (RECONCILER_ENGINE=pgqueuer).
GRANT USAGE ON SCHEMA reconciler_queue TO reconciler_worker, reconciler_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler_queue TO reconciler_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA reconciler_queue TO reconciler_worker;
GRANT SELECT ON ALL TABLES IN SCHEMA reconciler_queue TO reconciler_console;

-- Whoever may connect may notify on any channel and take any advisory lock, and every login of the server may unless it is
-- said otherwise (docs/database.md, "Others in the same database"). Each application that uses the database needs the second
-- line then; name the database and uncomment:
-- REVOKE CONNECT, TEMPORARY ON DATABASE name FROM PUBLIC;
-- GRANT CONNECT ON DATABASE name TO reconciler_worker, reconciler_console, your_application;
-- REVOKE CREATE ON SCHEMA public FROM PUBLIC;
