-- By events_of_customer where a customer is named, else down the primary key until the page is full.
SELECT position, id, customer, arrived_as, fact FROM events
WHERE ($1 IS NULL OR customer = $1)
  AND ($2 IS NULL OR name = $2)
  AND ($3 IS NULL OR fact ->> '$.source' = $3)
  AND ($4 IS NULL OR fact ->> '$.occurred_at' >= $4)
  AND ($5 IS NULL OR fact ->> '$.occurred_at' < $5)
  AND ($6 IS NULL OR position < (SELECT position FROM events WHERE id = $6))
ORDER BY position DESC LIMIT $7
