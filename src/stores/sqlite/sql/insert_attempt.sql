INSERT INTO attempts (delivery, n, at, outcome, detail)
SELECT id, n_attempts, $2, $3, $4 FROM deliveries WHERE id = $1
