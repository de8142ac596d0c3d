-- $1: JSON array of customer ids in hexadecimal; the customer each of them is today.
WITH RECURSIVE chain (asked, id, merged_into) AS (
    SELECT c.id, c.id, c.merged_into
    FROM json_each($1) AS j JOIN customers AS c ON c.id = unhex(j.value)
    UNION ALL
    SELECT chain.asked, c.id, c.merged_into FROM chain JOIN customers AS c ON c.id = chain.merged_into
)
SELECT asked, id FROM chain WHERE merged_into IS NULL
