-- Newest first, after position $1 and absorbed $2 (no bound: the greatest). $3: only into this living customer, or null.
-- Whom the survivor became since is found by following merged_into.
SELECT m.absorbed, m.survivor, m.position, e.id AS event, e.name, e.known_at, e.fact ->> 'source' AS source,
       e.fact ->> 'received_at' AS received_at, e.customer AS living
FROM merges AS m JOIN events AS e ON e.position = m.position
WHERE (m.position, m.absorbed) < ($1, $2) AND ($3 IS NULL OR e.customer = $3)
ORDER BY m.position DESC, m.absorbed DESC LIMIT $4
