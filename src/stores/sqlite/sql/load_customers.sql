-- $1: JSON array of customer ids in hexadecimal. By primary key.
SELECT c.id, c.created_at, c.profile, c.scores, c.segments
FROM json_each($1) AS j JOIN customers AS c ON c.id = unhex(j.value)
WHERE c.merged_into IS NULL
