-- Of the stored body what a decision reads (cronofy/wire/stored_bodies.py), as JSON text; a small one as it is. Null for none,
-- and for one of more than 1 MB, or of more than 64 kB in what is read: an account's many large bodies are not to be held at once.
CASE WHEN pg_column_size(e.body) <= 2000 THEN e.body::text
     WHEN pg_column_size(e.body) > 1048576 OR octet_length(e.body::text) > 1048576 THEN NULL
     WHEN jsonb_typeof(e.body) <> 'object' THEN '[]'
     ELSE (SELECT CASE WHEN sum(octet_length(b.value::text)) <= 65536 THEN jsonb_object_agg(b.key, b.value)::text END
           FROM jsonb_each(e.body) b
           WHERE b.key IN ('event_id', 'start', 'end', 'tzid', 'conferencing', 'summary', 'recurrence', 'location'))
END AS body,
e.body IS NOT NULL AS has_body
