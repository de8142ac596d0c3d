-- By events_of_customer.
SELECT position, id, customer, fact FROM events
WHERE customer = $1 AND known_at <= $2 ORDER BY position DESC LIMIT $3
