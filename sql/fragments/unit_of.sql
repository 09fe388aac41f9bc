-- The unit of an event: its account, or that of all whose account_id our tables cannot hold.
CASE WHEN octet_length(e.account_id) <= 2500 THEN e.account_id ELSE '' END
