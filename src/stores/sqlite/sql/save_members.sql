-- $1: JSON array of [segment, customer].
INSERT OR IGNORE INTO members (segment, customer) SELECT value ->> 0, unhex(value ->> 1) FROM json_each($1)
