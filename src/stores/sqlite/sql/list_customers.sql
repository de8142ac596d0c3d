-- $1: part of a handle or of a name; null for everybody. $2: a segment, by its primary key. $3: the last id of the page
-- before. Ids are ordered by time.
SELECT c.id, c.created_at, c.profile, coalesce(j.scores, '{}') AS scores, coalesce(j.segments, '{}') AS segments
FROM customers AS c LEFT JOIN judgements AS j ON j.customer = c.id
WHERE c.merged_into IS NULL
  AND ($1 IS NULL
    OR c.id IN (SELECT customer FROM identities WHERE instr(lower(value), lower($1)) > 0)
    OR instr(lower(coalesce(profile ->> '$.traits.first_name.value', '') || ' '
                || coalesce(profile ->> '$.traits.last_name.value', '')), lower($1)) > 0)
  AND ($2 IS NULL OR c.id IN (SELECT customer FROM members WHERE segment = $2))
  AND ($3 IS NULL OR c.id < $3)
ORDER BY c.id DESC LIMIT $4
