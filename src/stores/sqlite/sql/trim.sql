-- One piece of a cut, from the front of the log; both look-ups go along the primary key.
DELETE FROM inbox WHERE position IN (SELECT position FROM inbox WHERE position <= $1 ORDER BY position LIMIT $2)
