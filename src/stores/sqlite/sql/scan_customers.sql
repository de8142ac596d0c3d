-- One row for all of them: a row costs more on its way than an id. By customers_living: ids are ordered by time, so a
-- sweep meets customers in the order in which they came.
SELECT coalesce(group_concat(hex(id), '' ORDER BY id), '') FROM (
    SELECT id FROM customers WHERE id > $1 AND merged_into IS NULL ORDER BY id LIMIT $2
)
