-- By deliveries_of_customer where a customer is named.
SELECT * FROM deliveries
WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR rule = $2) AND ($3 IS NULL OR customer = $3)
  AND ($4 IS NULL OR channel = $4) AND ($5 IS NULL OR decided_at >= $5) AND ($6 IS NULL OR decided_at < $6)
  AND ($7 IS NULL OR (decided_at, id) < (SELECT decided_at, id FROM deliveries WHERE id = $7))
ORDER BY decided_at DESC, id DESC LIMIT $8
