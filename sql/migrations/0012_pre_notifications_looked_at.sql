-- When a look took a notification into account; null: it still makes due what it names. Those received so far have been
-- evidence of their events all along.
ALTER TABLE reconciler.notifications ADD COLUMN looked_at timestamptz;
UPDATE reconciler.notifications SET looked_at = received_at;
CREATE INDEX notifications_of_events_to_look_at ON reconciler.notifications (calendar_id, event_id) WHERE looked_at IS NULL;
CREATE INDEX notifications_of_accounts_to_look_at ON reconciler.notifications (account_id) WHERE looked_at IS NULL AND event_id IS NULL;
