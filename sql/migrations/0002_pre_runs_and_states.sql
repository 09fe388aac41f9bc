-- What the reconciler knows: its runs, the state of every event, the profiles on record, notices, incidents.

CREATE TABLE reconciler.runs (
    run_id      uuid PRIMARY KEY,
    run_key     text UNIQUE,
    trigger     text NOT NULL DEFAULT 'on_demand' CHECK (trigger IN ('schedule', 'on_demand', 'webhook', 'console')),
    reason      text,
    scope       jsonb NOT NULL DEFAULT '{}',
    dry_run     boolean NOT NULL DEFAULT false,
    status      text NOT NULL DEFAULT 'running'
                CHECK (status IN ('running', 'completed', 'partial', 'stopped', 'refused', 'failed')),
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    summary     jsonb,
    policy      jsonb NOT NULL DEFAULT '{}',
    planned_at  timestamptz,
    -- counted over the run, whatever the number of processes: the safety limits and the roster brake read these and
    -- the units' counters
    repairs     integer NOT NULL DEFAULT 0,
    rosters_lost integer NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_start ON reconciler.runs (started_at DESC);

-- A run's work: one unit is one account. A unit becomes done in the same transaction as everything it decided.
CREATE TABLE reconciler.run_units (
    run_id        uuid NOT NULL REFERENCES reconciler.runs ON DELETE CASCADE,
    account_id    text NOT NULL,
    deadline      timestamptz NOT NULL,
    events_due    integer NOT NULL,
    events_read   integer NOT NULL DEFAULT 0,
    roster_compared boolean NOT NULL DEFAULT false,
    state         text NOT NULL DEFAULT 'todo' CHECK (state IN ('todo', 'done', 'failed', 'skipped')),
    attempt       integer NOT NULL DEFAULT 0,
    parked        boolean NOT NULL DEFAULT false,
    counts        jsonb NOT NULL DEFAULT '{}',
    observed      jsonb NOT NULL DEFAULT '{}',
    error_kind    text,
    error_message text,
    finished_at   timestamptz,
    PRIMARY KEY (run_id, account_id)
);
CREATE INDEX run_units_todo ON reconciler.run_units (run_id, deadline, account_id) WHERE state = 'todo';

-- Evidence whose verdict waits for the end of the run, when it is known whether a provider is down.
CREATE TABLE reconciler.run_held (
    run_id      uuid NOT NULL REFERENCES reconciler.runs ON DELETE CASCADE,
    account_id  text NOT NULL,
    calendar_id text NOT NULL,
    event_id    text NOT NULL,
    evidence    jsonb NOT NULL,
    PRIMARY KEY (run_id, account_id, calendar_id, event_id)
);

CREATE TABLE reconciler.event_states (
    calendar_id   text NOT NULL,
    event_id      text NOT NULL,
    account_id    text NOT NULL,
    conferencing  text NOT NULL DEFAULT 'unknown'
                  CHECK (conferencing IN ('unknown', 'pending', 'assigned', 'absent', 'gone', 'ignored')),
    cause         text CHECK (cause IN (
                      'unreadable', 'account_unauthorized', 'event_deleted', 'event_past', 'assigned', 'event_missing',
                      'calendar_unavailable', 'calendar_disconnected', 'settling', 'provider_retired',
                      'profile_removed', 'profile_disconnected', 'integrated_unavailable', 'missing_meeting_url',
                      'provider_outage', 'conferencing_absent', 'unexplained')),
    join_url      text,
    provider_name text,
    read_at       timestamptz,
    pending_since timestamptz,
    next_read_at  timestamptz,
    repairs       integer NOT NULL DEFAULT 0 CHECK (repairs >= 0),
    settled_at    timestamptz,
    run_id        uuid,
    -- not public: what the next decision needs of the last one
    remedy            text,
    misses            integer NOT NULL DEFAULT 0,
    unchanged_looks   integer NOT NULL DEFAULT 0,
    seen_written_at   timestamptz,
    repaired_at       timestamptz,
    confirmed_at      timestamptz,
    intended_at       timestamptz,
    intended_profile  text,
    rejections        jsonb NOT NULL DEFAULT '[]',
    asked_provider    text,
    PRIMARY KEY (calendar_id, event_id)
);
CREATE INDEX event_states_by_account ON reconciler.event_states (account_id);
CREATE INDEX event_states_unsettled ON reconciler.event_states (next_read_at) WHERE settled_at IS NULL;
CREATE INDEX event_states_by_run ON reconciler.event_states (run_id);

-- Every profile that a roster listed, as it was last described; `listed`: it was in the last one.
CREATE TABLE reconciler.known_profiles (
    account_id    text NOT NULL,
    profile_id    text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('conferencing', 'calendar')),
    provider_name text NOT NULL,
    profile_name  text,
    connected     boolean NOT NULL,
    listed        boolean NOT NULL,
    seen_at       timestamptz NOT NULL,
    PRIMARY KEY (account_id, profile_id, kind)
);

CREATE TABLE reconciler.notices (
    notice_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind            text NOT NULL CHECK (kind IN ('relink_conferencing', 'relink_calendar', 'reauthorize_account',
                                                  'connect_conferencing', 'restore_licence')),
    account_id      text NOT NULL,
    profile_id      text,
    provider_name   text,
    relink_url      text,
    recipient       text,
    customer        text,
    account_manager text,
    events          jsonb NOT NULL DEFAULT '[]',
    events_affected integer NOT NULL DEFAULT 0,
    first_event_at  timestamptz,
    last_event_at   timestamptz,
    status          text NOT NULL DEFAULT 'queued'
                    CHECK (status IN ('queued', 'delivered', 'failed', 'dead', 'resolved')),
    sent_count      integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz,
    resolved_at     timestamptz,
    run_id          uuid
);
CREATE UNIQUE INDEX notices_one_open ON reconciler.notices (account_id, kind, coalesce(profile_id, ''))
    WHERE status <> 'resolved';
CREATE INDEX notices_open_by_last_event ON reconciler.notices (last_event_at) WHERE status <> 'resolved';

CREATE TABLE reconciler.incidents (
    incident_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    provider_name text NOT NULL,
    opened_at     timestamptz NOT NULL DEFAULT now(),
    closed_at     timestamptz,
    evidence      jsonb NOT NULL DEFAULT '{}',
    run_id        uuid
);
CREATE UNIQUE INDEX incidents_one_open ON reconciler.incidents (provider_name) WHERE closed_at IS NULL;

CREATE TABLE reconciler.notifications (
    notification_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at     timestamptz NOT NULL DEFAULT now(),
    account_id      text,
    calendar_id     text,
    event_id        text,
    type            text NOT NULL,
    subtype         text,
    payload         jsonb,
    digest          text UNIQUE
);
CREATE INDEX notifications_by_event ON reconciler.notifications (calendar_id, event_id, received_at);

CREATE TABLE reconciler.plans (
    plan_id    uuid PRIMARY KEY,
    run_id     uuid NOT NULL UNIQUE REFERENCES reconciler.runs ON DELETE CASCADE,
    digest     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    summary    jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE reconciler.plan_items (
    plan_id         uuid NOT NULL REFERENCES reconciler.plans ON DELETE CASCADE,
    calendar_id     text NOT NULL,
    event_id        text NOT NULL,
    account_id      text NOT NULL,
    starts_at       timestamptz NOT NULL,
    cause           text NOT NULL,
    remedy          text NOT NULL,
    detail          jsonb NOT NULL DEFAULT '{}',
    evidence_digest text NOT NULL,
    PRIMARY KEY (plan_id, calendar_id, event_id)
);
