-- $1: JSON array of customer ids in hexadecimal. By primary keys; judgements are not touched.
SELECT c.id, c.created_at, c.profile, '{}' AS scores, '{}' AS segments
FROM json_each($1) AS asked
JOIN customers AS c ON c.id = unhex(asked.value)
WHERE c.merged_into IS NULL
