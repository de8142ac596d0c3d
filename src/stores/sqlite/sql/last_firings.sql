-- $1: JSON array of customer ids in hexadecimal. By firings_of_customer.
SELECT f.customer, f.rule, max(f.at) AS at
FROM json_each($1) AS j JOIN firings AS f ON f.customer = unhex(j.value)
GROUP BY f.customer, f.rule
