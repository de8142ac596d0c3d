SELECT position, id, customer, fact FROM events WHERE position > $1 ORDER BY position LIMIT $2
