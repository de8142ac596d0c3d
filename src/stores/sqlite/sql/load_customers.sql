-- $1: JSON array of customer ids in hexadecimal. By primary keys.
SELECT c.id, c.created_at, c.profile, coalesce(j.scores, '{}') AS scores, coalesce(j.segments, '{}') AS segments
FROM json_each($1) AS asked
JOIN customers AS c ON c.id = unhex(asked.value)
LEFT JOIN judgements AS j ON j.customer = c.id
WHERE c.merged_into IS NULL
