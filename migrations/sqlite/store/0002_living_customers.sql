-- What a sweep of everybody reads: ids alone, without touching the pages of the profiles.
CREATE INDEX customers_living ON customers (id) WHERE merged_into IS NULL;
