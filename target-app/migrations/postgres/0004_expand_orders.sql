-- Expand: an order's price becomes the price of a piece and a currency. Both are empty in rows that were written before, or
-- by a shop that does not know them, until they are filled on access or by the batch job. `total_cents` goes when no such shop is
-- left (`squall-shop migrate contract`).
ALTER TABLE orders ADD COLUMN unit_cents BIGINT;
ALTER TABLE orders ADD COLUMN currency TEXT;
ALTER TABLE orders ALTER COLUMN total_cents DROP NOT NULL;
CREATE INDEX orders_unmigrated ON orders (id) WHERE unit_cents IS NULL;
