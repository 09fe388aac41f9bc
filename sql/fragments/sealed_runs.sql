    SELECT r.run_id, r.status, max(e.entry_id) AS seal_id
    FROM reconciler.runs r
    LEFT JOIN reconciler.audit_entries e ON e.run_id = r.run_id AND e.chain = 'runs' AND e.tag = 'run:finished'
    GROUP BY r.run_id
