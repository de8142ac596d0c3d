-- $1: JSON array of [key hex, source, locator, reason, message, record, at]. A row already put aside stays as it was.
INSERT OR IGNORE INTO quarantine (key, source, locator, reason, message, record, at)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
FROM json_each($1)
