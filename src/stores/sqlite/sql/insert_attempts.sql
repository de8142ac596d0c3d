-- $1: JSON array of [delivery, at, outcome, detail]; after the delivery was settled, which counted the attempt.
INSERT INTO attempts (delivery, n, at, outcome, detail)
SELECT d.id, d.n_attempts, made.value ->> 1, made.value ->> 2, made.value ->> 3
FROM json_each($1) AS made JOIN deliveries AS d ON d.id = unhex(made.value ->> 0)
