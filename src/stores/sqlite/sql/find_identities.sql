-- $1: JSON array of [kind, value]. By primary key.
SELECT i.kind, i.value, i.customer
FROM json_each($1) AS asked
JOIN identities AS i ON i.kind = asked.value ->> 0 AND i.value = asked.value ->> 1
