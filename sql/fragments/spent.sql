  AND n.status <> 'resolved' AND n.kind <> 'reauthorize_account'
  AND (n.last_event_at <= $1 OR NOT EXISTS (
        SELECT FROM jsonb_to_recordset(n.events) AS w (calendar_id text, event_id text, starts_at timestamptz)
        JOIN reconciler.events e ON e.calendar_id = w.calendar_id AND e.event_id = w.event_id AND e.account_id = n.account_id
        WHERE e.cancelled_at IS NULL AND e.starts_at > $1))
