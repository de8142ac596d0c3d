-- By deliveries_waiting.
SELECT min(due_at) FROM deliveries WHERE state IN ('due', 'held') AND ($1 IS NULL OR channel = $1)
