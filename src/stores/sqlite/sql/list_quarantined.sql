-- $1 source, $2 reason, or null; $3 JSON array of beginnings of keys, empty for all; behind ($4, $5). Newest first.
SELECT key, source, locator, reason, message, record, at FROM quarantine
WHERE ($1 IS NULL OR source = $1) AND ($2 IS NULL OR reason = $2)
  AND ($3 = '[]' OR EXISTS (SELECT 1 FROM json_each($3) AS j WHERE hex(quarantine.key) LIKE upper(j.value) || '%'))
  AND (at, key) < ($4, $5)
ORDER BY at DESC, key DESC LIMIT $6
