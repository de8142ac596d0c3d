-- By signals_of_customer where a customer is named; all of them are read for one segment.
SELECT * FROM signals
WHERE ($1 IS NULL OR segment = $1) AND ($2 IS NULL OR customer = $2) AND ($3 IS NULL OR cause = $3)
  AND ($4 IS NULL OR (at, id) < (SELECT at, id FROM signals WHERE id = $4))
ORDER BY at DESC, id DESC LIMIT $5
