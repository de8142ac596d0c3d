SELECT * FROM deliveries
WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR rule = $2) AND ($3 IS NULL OR customer = $3)
ORDER BY decided_at DESC, id DESC LIMIT $4
