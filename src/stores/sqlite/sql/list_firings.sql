-- By firings_of_customer or the unique index on (rule, subject, occasion).
SELECT * FROM firings
WHERE ($1 IS NULL OR rule = $1) AND ($2 IS NULL OR customer = $2) AND ($3 IS NULL OR occasion = $3)
ORDER BY at DESC, id DESC LIMIT $4
