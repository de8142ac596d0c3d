UPDATE deliveries
SET state = $2, due_at = coalesce($3, due_at), reason = $4, receipt = coalesce($5, receipt),
    n_attempts = n_attempts + $6, lease_until = NULL,
    settled_at = CASE WHEN $2 IN ('due', 'held') THEN NULL ELSE $7 END
WHERE id = $1 AND state IN ('leased', 'committing')
