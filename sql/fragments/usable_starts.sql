FILTER (WHERE e.starts_at > '0001-01-02 00:00:00+00' AND e.starts_at < '9999-12-31 00:00:00+00')
