-- $1: part of a handle or of a name; null for everybody.
SELECT id, created_at, profile, scores, segments FROM customers
WHERE merged_into IS NULL
  AND ($1 IS NULL
    OR id IN (SELECT customer FROM identities WHERE instr(lower(value), lower($1)) > 0)
    OR instr(lower(coalesce(profile ->> '$.traits.first_name.value', '') || ' '
                || coalesce(profile ->> '$.traits.last_name.value', '')), lower($1)) > 0)
ORDER BY id DESC LIMIT $2
