SELECT * FROM tasks
WHERE done_at IS NULL AND ($1 IS NULL OR rule = $1) AND ($2 IS NULL OR customer = $2)
  AND ($3 IS NULL OR (created_at, delivery) < (SELECT created_at, delivery FROM tasks WHERE delivery = $3))
ORDER BY created_at DESC, delivery DESC LIMIT $4
