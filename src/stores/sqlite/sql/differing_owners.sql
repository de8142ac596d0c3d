-- Everything that says whose something is. The ledger's rows follow their subjects to whom they are today.
SELECT 'handle' AS kind, NULL AS id, coalesce(o.kind, f.kind) || ' ' || coalesce(o.value, f.value) AS name,
       o.customer AS stored, f.customer AS derived
FROM main.identities AS o FULL JOIN fresh.identities AS f ON f.kind = o.kind AND f.value = o.value
WHERE o.customer IS NOT f.customer
UNION ALL
SELECT 'event', o.id, 'belongs to', o.customer, f.customer
FROM main.events AS o JOIN fresh.events AS f ON f.position = o.position WHERE o.customer IS NOT f.customer
UNION ALL
SELECT 'event', o.id, 'came as', o.arrived_as, f.arrived_as
FROM main.events AS o JOIN fresh.events AS f ON f.position = o.position WHERE o.arrived_as IS NOT f.arrived_as
UNION ALL
SELECT 'event', o.id, 'derived', o.customer, NULL
FROM main.events AS o LEFT JOIN fresh.events AS f ON f.position = o.position
WHERE f.position IS NULL AND o.position <= (SELECT CAST(value AS INTEGER) FROM fresh.meta WHERE key = 'position')
UNION ALL
SELECT 'merge', coalesce(o.absorbed, f.absorbed), 'into', o.survivor, f.survivor
FROM main.merges AS o FULL JOIN fresh.merges AS f ON f.absorbed = o.absorbed
WHERE o.survivor IS NOT f.survivor OR o.position IS NOT f.position
UNION ALL
SELECT 'separation', coalesce(o.first, f.first), 'from', o.second_today, f.second_today
FROM main.separations AS o FULL JOIN fresh.separations AS f ON f.first = o.first AND f.second = o.second
WHERE o.first_today IS NOT f.first_today OR o.second_today IS NOT f.second_today OR o.position IS NOT f.position
UNION ALL
SELECT 'firing', l.id, 'belongs to', l.customer, coalesce(t.living, l.subject)
FROM main.firings AS l LEFT JOIN temp.today AS t ON t.id = l.subject
WHERE l.customer IS NOT coalesce(t.living, l.subject)
UNION ALL
SELECT 'delivery', l.id, 'belongs to', l.customer, coalesce(t.living, l.subject)
FROM main.deliveries AS l LEFT JOIN temp.today AS t ON t.id = l.subject
WHERE l.customer IS NOT coalesce(t.living, l.subject)
UNION ALL
SELECT 'signal', l.id, 'belongs to', l.customer, coalesce(t.living, l.subject)
FROM main.signals AS l LEFT JOIN temp.today AS t ON t.id = l.subject
WHERE l.customer IS NOT coalesce(t.living, l.subject)
UNION ALL
SELECT 'refusal', l.subject, l.rule, l.customer, coalesce(t.living, l.subject)
FROM main.refusals AS l LEFT JOIN temp.today AS t ON t.id = l.subject
WHERE l.customer IS NOT coalesce(t.living, l.subject)
