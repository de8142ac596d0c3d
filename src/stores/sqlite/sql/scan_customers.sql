-- By primary key: ids are ordered by time, so a sweep meets customers in the order in which they came.
SELECT id FROM customers WHERE id > $1 AND merged_into IS NULL ORDER BY id LIMIT $2
