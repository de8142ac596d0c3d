-- As scan_customers. By primary key, in the order of ids like every sweep.
SELECT coalesce(group_concat(hex(id), '' ORDER BY id), '') FROM (
    SELECT customer AS id FROM members WHERE segment = $3 AND customer > $1 ORDER BY customer LIMIT $2
)
