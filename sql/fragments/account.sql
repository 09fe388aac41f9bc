-- What a unit needs to know of the account `w.account_id`: its columns, the profiles on record (null: no roster was ever
-- read), when an event that asked `default` last got a link, its open notices and the head of its audit chain.
SELECT (SELECT jsonb_build_object(
           'data_center', a.data_center, 'email', a.email, 'customer', a.customer, 'account_manager', a.account_manager,
           'access_token', a.access_token, 'refresh_token', a.refresh_token,
           'token_expires_at', a.token_expires_at, 'updated_at', a.updated_at, 'state', a.state)
        FROM reconciler.accounts a WHERE a.account_id = w.account_id LIMIT 1)
    || jsonb_build_object(
           'rows', (SELECT count(*) FROM reconciler.accounts a WHERE a.account_id = w.account_id),
           'profiles', (
               SELECT jsonb_agg(jsonb_build_array(k.profile_id, k.kind, k.provider_name, k.profile_name, k.listed,
                                                  k.disconnected_at))
               -- as far as a roster goes on record, and as many that it no longer lists
               FROM (SELECT * FROM reconciler.known_profiles p WHERE p.account_id = w.account_id
                     ORDER BY p.listed DESC, p.seen_at DESC LIMIT 2000) k),
           -- asked only where a profile is disconnected, for only there it matters
           'default_linked_at', CASE WHEN EXISTS (
               SELECT FROM reconciler.known_profiles k
               WHERE k.account_id = w.account_id AND k.kind = 'conferencing' AND k.listed AND NOT k.connected) THEN (
               SELECT max(t.linked_at)
               FROM reconciler.event_states t
               JOIN reconciler.events e ON e.calendar_id = t.calendar_id AND e.event_id = t.event_id
               WHERE t.account_id = w.account_id AND e.profile_id = 'default') END,
           'notices', (
               SELECT jsonb_agg(jsonb_build_object('kind', n.kind, 'profile_id', n.profile_id, 'events', n.events,
                                                   'events_affected', n.events_affected,
                                                   'provider_name', n.provider_name, 'relink_url', n.relink_url))
               FROM reconciler.notices n WHERE n.account_id = w.account_id AND n.status <> 'resolved'),
           'to_look_at', (
               SELECT jsonb_agg(l.notification_id) FROM (
                   SELECT n.notification_id FROM reconciler.notifications n
                   WHERE n.account_id = w.account_id AND n.event_id IS NULL AND n.looked_at IS NULL
                     AND n.type IN ('conferencing_profile_disconnected', 'profile_disconnected')
                   LIMIT 1000) l),
           'head', (
               SELECT jsonb_build_array(e.seq, e.hash) FROM reconciler.audit_entries e
               WHERE e.chain = w.account_id ORDER BY e.seq DESC LIMIT 1))
