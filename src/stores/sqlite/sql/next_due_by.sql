-- By deliveries_waiting.
SELECT min(due_at) FROM deliveries WHERE state IN ('due', 'held') AND channel = $1
