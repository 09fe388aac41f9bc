-- Token pairs of the accounts.

-- name: load
SELECT access_token, refresh_token, token_expires_at FROM reconciler.accounts WHERE account_id = $1;

-- name: lock
SELECT refresh_token FROM reconciler.accounts WHERE account_id = $1 FOR UPDATE;

-- name: save
UPDATE reconciler.accounts
SET access_token = $2, refresh_token = $3, token_expires_at = $4, updated_at = now()
WHERE account_id = $1;

-- name: all
SELECT account_id, access_token, refresh_token, token_expires_at FROM reconciler.accounts
WHERE access_token <> '' OR refresh_token <> '';
