-- By primary key, in the order of ids like every sweep.
SELECT customer AS id FROM members WHERE segment = $3 AND customer > $1 ORDER BY customer LIMIT $2
