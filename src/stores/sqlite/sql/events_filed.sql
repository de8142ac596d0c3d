-- By events_of_customer. All events of a customer in the order of the log, with whose they were when they came.
SELECT position, id, customer, arrived_as, fact FROM events
WHERE customer = $1 AND position > $2 ORDER BY position LIMIT $3
