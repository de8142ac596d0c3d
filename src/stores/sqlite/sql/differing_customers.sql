-- By the primary keys of both. Profiles are compared as they are written: the same profile is always the same text.
SELECT coalesce(o.id, f.id) AS id, o.id IS NOT NULL AS in_store, f.id IS NOT NULL AS in_fresh,
       o.profile AS stored, f.profile AS derived,
       o.merged_into AS stored_into, f.merged_into AS derived_into,
       o.created_at AS stored_since, f.created_at AS derived_since
FROM main.customers AS o FULL JOIN fresh.customers AS f ON f.id = o.id
WHERE o.id IS NULL OR f.id IS NULL OR o.profile IS NOT f.profile OR o.merged_into IS NOT f.merged_into
   OR o.created_at IS NOT f.created_at
