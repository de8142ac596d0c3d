-- By firings_of_customer.
SELECT f.customer, f.rule, f.occasion
FROM json_each($1) AS j JOIN firings AS f ON f.customer = unhex(j.value)
WHERE f.at >= $2
