-- Which events are due. One function, so that planning, working and counting cannot disagree. It names the application's
-- relations in its body only: they may be replaced by views without touching it.
--
-- A null scope parameter does not limit. With any of them set, next_read_at is ignored.

CREATE FUNCTION reconciler.due_events(
    p_now timestamptz, p_horizon interval, p_account text DEFAULT NULL, p_recheck boolean DEFAULT false,
    p_ignore_next_read boolean DEFAULT false,
    p_accounts text[] DEFAULT NULL, p_customers text[] DEFAULT NULL, p_managers text[] DEFAULT NULL,
    p_providers text[] DEFAULT NULL, p_profiles text[] DEFAULT NULL,
    p_calendar_ids text[] DEFAULT NULL, p_event_ids text[] DEFAULT NULL,
    p_starting_before timestamptz DEFAULT NULL, p_starting_after timestamptz DEFAULT NULL,
    p_written_before timestamptz DEFAULT NULL, p_written_after timestamptz DEFAULT NULL,
    p_causes text[] DEFAULT NULL
) RETURNS TABLE (calendar_id text, event_id text, account_id text, starts_at timestamptz, account_known boolean)
LANGUAGE sql STABLE ROWS 20000 AS $$
    SELECT e.calendar_id, e.event_id, e.account_id, e.starts_at, a.account_id IS NOT NULL
    FROM reconciler.events e
    LEFT JOIN reconciler.accounts a ON a.account_id = e.account_id
    LEFT JOIN reconciler.event_states s ON s.calendar_id = e.calendar_id AND s.event_id = e.event_id
    WHERE e.starts_at > p_now AND e.starts_at <= p_now + p_horizon
      AND e.cancelled_at IS NULL AND e.profile_id IS NOT NULL AND e.profile_id NOT IN ('none', 'explicit')
      AND (p_account IS NULL OR e.account_id = p_account)
      AND (a.account_id IS NULL OR a.state = 'active')
      AND (CASE WHEN s.settled_at IS NULL
                THEN p_ignore_next_read OR s.next_read_at IS NULL OR s.next_read_at <= p_now
                     OR e.starts_at <= p_now + interval '24 hours'
                ELSE (p_recheck AND s.conferencing = 'assigned') END
           OR e.written_at > s.settled_at OR e.written_at <> s.seen_written_at)
      AND (p_accounts IS NULL OR e.account_id = ANY (p_accounts))
      AND (p_customers IS NULL OR a.customer = ANY (p_customers))
      AND (p_managers IS NULL OR a.account_manager = ANY (p_managers))
      AND (p_profiles IS NULL OR e.profile_id = ANY (p_profiles))
      AND (p_event_ids IS NULL OR (e.calendar_id, e.event_id) IN (SELECT * FROM unnest(p_calendar_ids, p_event_ids)))
      AND (p_starting_before IS NULL OR e.starts_at < p_starting_before)
      AND (p_starting_after IS NULL OR e.starts_at >= p_starting_after)
      AND (p_written_before IS NULL OR e.written_at < p_written_before)
      AND (p_written_after IS NULL OR e.written_at >= p_written_after)
      AND (p_causes IS NULL OR s.cause = ANY (p_causes))
      AND (p_providers IS NULL
           OR NOT EXISTS (SELECT FROM reconciler.known_profiles k WHERE k.account_id = e.account_id)
           OR CASE
                WHEN e.profile_id = 'default' THEN EXISTS (
                    SELECT FROM reconciler.known_profiles k
                    WHERE k.account_id = e.account_id AND k.kind = 'conferencing' AND k.listed
                      AND k.provider_name = ANY (p_providers))
                WHEN e.profile_id = 'integrated' THEN EXISTS (
                    SELECT FROM reconciler.known_profiles k
                    WHERE k.account_id = e.account_id AND k.kind = 'calendar' AND k.listed
                      AND CASE k.provider_name WHEN 'google' THEN 'google_meet' ELSE 'ms_teams_for_business' END
                          = ANY (p_providers))
                ELSE coalesce((SELECT k.provider_name = ANY (p_providers) FROM reconciler.known_profiles k
                      WHERE k.account_id = e.account_id AND k.profile_id = e.profile_id AND k.kind = 'conferencing'),
                     true)
              END)
$$;
