-- Reads every event: a second for each million.
SELECT fact ->> '$.source' AS source, count(*) AS n, max(fact ->> '$.received_at') AS last_at
FROM events GROUP BY 1 ORDER BY 1
