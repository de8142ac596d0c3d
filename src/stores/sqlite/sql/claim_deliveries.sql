-- By deliveries_waiting.
UPDATE deliveries SET state = 'leased', lease_until = $3
WHERE id IN (
    SELECT id FROM deliveries
    WHERE channel = $1 AND state IN ('due', 'held') AND due_at <= $2
    ORDER BY due_at, id LIMIT $4
)
RETURNING *
