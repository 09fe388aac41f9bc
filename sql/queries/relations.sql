-- The shape of the application's two relations, by the catalogs.

-- name: shape
-- One row per column that exists; `found` is null for a relation that does not. `type` names the base type of a domain.
WITH RECURSIVE relation AS (
    SELECT w.name, c.oid, c.relkind::text AS kind, has_schema_privilege(n.oid, 'USAGE') AS reachable
    FROM unnest($1::text[]) AS w (name)
    LEFT JOIN pg_namespace n ON n.nspname = 'reconciler'
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
), base AS (
    SELECT r.oid AS relation, a.attnum AS place, t.oid AS type, t.typtype, t.typbasetype
    FROM relation r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    UNION ALL
    SELECT b.relation, b.place, t.oid, t.typtype, t.typbasetype
    FROM base b JOIN pg_type t ON t.oid = b.typbasetype
    WHERE b.typtype = 'd'
)
SELECT r.name AS relation, r.kind, r.reachable, a.attname AS "column", format_type(b.type, NULL) AS type,
       t.typcategory::text AS category,
       has_column_privilege(r.oid, a.attnum, 'SELECT') AS readable,
       has_column_privilege(r.oid, a.attnum, 'UPDATE') AS writable
FROM relation r
LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN base b ON b.relation = r.oid AND b.place = a.attnum AND b.typtype <> 'd'
LEFT JOIN pg_type t ON t.oid = b.type
ORDER BY r.name, a.attnum;
