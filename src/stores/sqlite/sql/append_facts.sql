-- $1: JSON array of facts, in order.
INSERT INTO inbox (fact) SELECT value FROM json_each($1) ORDER BY key
