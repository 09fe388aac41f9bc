-- What the application's database refuses of our corrections, and the time that a trigger of its own gives a row on one.
ALTER TABLE reconciler.event_states ADD COLUMN uncorrected_profile text;
ALTER TABLE reconciler.event_states ADD COLUMN uncorrected_reason text;
ALTER TABLE reconciler.event_states ADD COLUMN stamped_from timestamptz;

ALTER TABLE reconciler.audit_entries DROP CONSTRAINT audit_entries_tag_check;
ALTER TABLE reconciler.audit_entries ADD CONSTRAINT audit_entries_tag_check CHECK (tag IN (
    'run:started', 'run:finished', 'event:judged', 'event:confirmed', 'event:escalated',
    'repair:intended', 'repair:applied', 'repair:unneeded', 'repair:rejected', 'repair:in_doubt',
    'repair:unsent', 'repair:overtaken', 'correction:refused', 'plan:drifted', 'notice:queued', 'notice:updated',
    'notice:resolved', 'account:parked', 'incident:opened', 'incident:closed'));
