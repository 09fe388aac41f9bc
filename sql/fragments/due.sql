-- Which events are due. Planning, working and counting include this one text, so that they cannot disagree. `states` is
-- what it may see of event_states, for the includer to say: all, or one account's. `named`: by a notification that no look has
-- taken into account; one about the account as a whole names its unsettled events.
-- Events whose start or deletion is at no time that can be used are due too, for somebody has to be told: the second part of
-- the first condition, whose own first condition is that of the index events_of_no_time.
-- $1 now, $2 horizon, $3 settled ones with a link too, $4 whatever next_read_at says; $5 to $16 the scope, null: no limit.
FROM reconciler.events e
LEFT JOIN reconciler.accounts a ON a.account_id = e.account_id
LEFT JOIN states s ON s.calendar_id = e.calendar_id AND s.event_id = e.event_id
WHERE (e.starts_at > $1::timestamptz AND e.starts_at <= $1::timestamptz + $2::interval AND e.cancelled_at IS NULL
       OR (e.starts_at IS NULL OR e.starts_at <= '0001-01-02 00:00:00+00' OR e.starts_at >= '9999-12-31 00:00:00+00'
           OR e.cancelled_at <= '0001-01-02 00:00:00+00' OR e.cancelled_at >= '9999-12-31 00:00:00+00')
          AND (e.cancelled_at IS NULL
               OR e.cancelled_at <= '0001-01-02 00:00:00+00' OR e.cancelled_at >= '9999-12-31 00:00:00+00')
          AND (e.starts_at > $1::timestamptz AND e.starts_at <= $1::timestamptz + $2::interval
               OR e.starts_at IS NULL OR e.starts_at <= '0001-01-02 00:00:00+00' OR e.starts_at >= '9999-12-31 00:00:00+00'))
  AND e.profile_id IS NOT NULL AND e.profile_id NOT IN ('none', 'explicit') AND e.profile_id <> ''
  AND (a.account_id IS NULL OR a.state IS DISTINCT FROM 'parked')
  -- a state of another account is none; said here, for a third key of the join has it done row by row
  AND (s.account_id IS DISTINCT FROM e.account_id
       OR CASE WHEN s.settled_at IS NULL
            THEN $4::boolean OR s.next_read_at IS NULL OR s.next_read_at <= $1::timestamptz
                 OR e.starts_at <= $1::timestamptz + interval '24 hours'
            ELSE ($3::boolean AND s.conferencing = 'assigned') END
       OR coalesce(e.written_at <> s.seen_written_at, e.written_at > s.settled_at)
       OR s.named)
  AND ($5::text[] IS NULL OR e.account_id = ANY ($5::text[]))
  AND ($6::text[] IS NULL OR a.customer = ANY ($6::text[]))
  AND ($7::text[] IS NULL OR a.account_manager = ANY ($7::text[]))
  AND ($9::text[] IS NULL OR e.profile_id = ANY ($9::text[]))
  AND ($11::text[] IS NULL OR (e.calendar_id, e.event_id) IN (SELECT * FROM unnest($10::text[], $11::text[])))
  AND ($12::timestamptz IS NULL OR e.starts_at < $12::timestamptz)
  AND ($13::timestamptz IS NULL OR e.starts_at >= $13::timestamptz)
  AND ($14::timestamptz IS NULL OR e.written_at < $14::timestamptz)
  AND ($15::timestamptz IS NULL OR e.written_at >= $15::timestamptz)
  AND ($16::text[] IS NULL OR s.cause = ANY ($16::text[]))
  AND ($8::text[] IS NULL
       OR NOT EXISTS (SELECT FROM reconciler.known_profiles k WHERE k.account_id = e.account_id)
       OR CASE
            WHEN e.profile_id = '8x8' THEN '8x8' = ANY ($8::text[])
            WHEN e.profile_id = 'default' AND EXISTS (
                SELECT FROM reconciler.known_profiles k
                WHERE k.account_id = e.account_id AND k.kind = 'conferencing' AND k.listed) THEN EXISTS (
                SELECT FROM reconciler.known_profiles k
                WHERE k.account_id = e.account_id AND k.kind = 'conferencing' AND k.listed
                  AND k.provider_name = ANY ($8::text[]))
            WHEN e.profile_id IN ('default', 'integrated') THEN EXISTS (
                SELECT FROM reconciler.known_profiles k
                WHERE k.account_id = e.account_id AND k.kind = 'calendar' AND k.listed
                  AND CASE k.provider_name WHEN 'google' THEN 'google_meet' ELSE 'ms_teams_for_business' END
                      = ANY ($8::text[]))
            ELSE coalesce((SELECT k.provider_name = ANY ($8::text[]) FROM reconciler.known_profiles k
                  WHERE k.account_id = e.account_id AND k.profile_id = e.profile_id AND k.kind = 'conferencing'),
                 true)
          END)
