UPDATE deliveries SET state = 'committing' WHERE id = $1 AND state = 'leased'
