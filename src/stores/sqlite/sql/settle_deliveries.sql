-- $1: JSON array of [id, state, due_at, reason, receipt, attempt, at], one for each delivery. By primary key: the plus signs
-- keep SQLite from walking through all that are under way instead.
UPDATE deliveries
SET state = moved.state, due_at = coalesce(moved.due_at, deliveries.due_at), reason = moved.reason,
    receipt = coalesce(moved.receipt, deliveries.receipt), n_attempts = n_attempts + moved.attempt, lease_until = NULL,
    settled_at = CASE WHEN moved.state IN ('due', 'held') THEN NULL ELSE moved.at END
FROM (
    SELECT unhex(value ->> 0) AS id, value ->> 1 AS state, value ->> 2 AS due_at, value ->> 3 AS reason,
           value ->> 4 AS receipt, value ->> 5 AS attempt, value ->> 6 AS at
    FROM json_each($1)
) AS moved
WHERE deliveries.id = moved.id AND +deliveries.state IN ('leased', 'committing')
RETURNING id
