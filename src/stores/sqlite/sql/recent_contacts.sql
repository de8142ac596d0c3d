-- Marketing messages that left, may have left, or are about to. By deliveries_of_customer.
SELECT d.customer, coalesce(d.settled_at, max(d.due_at, d.decided_at)) AS at, d.id, d.state IN ('due', 'held') AS waits,
       d.state = 'leased' AS leased
FROM json_each($1) AS j JOIN deliveries AS d ON d.customer = unhex(j.value)
WHERE d.class = 'marketing'
  AND d.state IN ('due', 'held', 'leased', 'committing', 'sent', 'unknown')
  AND coalesce(d.settled_at, max(d.due_at, d.decided_at)) >= $2
ORDER BY at, d.id
