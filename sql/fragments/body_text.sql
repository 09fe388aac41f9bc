-- The stored body as JSON text; null for none, and for one of more than 1 MB, which is not loaded.
CASE WHEN pg_column_size(e.body) > 1048576 THEN NULL WHEN octet_length(e.body::text) <= 1048576 THEN e.body::text END AS body,
e.body IS NOT NULL AS has_body
