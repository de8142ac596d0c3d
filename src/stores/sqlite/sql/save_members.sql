-- $1: as save_judgements. Only those segments that the customer is in.
INSERT INTO members (segment, customer)
SELECT s.key, unhex(c.value ->> 0) FROM json_each($1) AS c, json_each(c.value -> 2) AS s WHERE s.value
