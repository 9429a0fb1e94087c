-- Expand: an order's price becomes the price of a piece and a currency. Both are empty in rows that were written before, or
-- by a shop that does not know them, until they are filled on access or by the batch job. `total_cents` goes when no such shop is
-- left (`squall-shop migrate contract`). SQLite cannot take NOT NULL from a column, so the table is made again.
CREATE TABLE orders_expanded (
    id              TEXT    PRIMARY KEY,
    product         INTEGER NOT NULL REFERENCES products (id),
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    total_cents     BIGINT,
    charge          TEXT    NOT NULL,
    idempotency_key TEXT    UNIQUE,
    created_at_ms   BIGINT  NOT NULL,
    settled_cents   BIGINT  NOT NULL DEFAULT 0,
    unit_cents      BIGINT,
    currency        TEXT
);
INSERT INTO orders_expanded (id, product, quantity, total_cents, charge, idempotency_key, created_at_ms, settled_cents)
SELECT id, product, quantity, total_cents, charge, idempotency_key, created_at_ms, settled_cents FROM orders;
DROP TABLE orders;
ALTER TABLE orders_expanded RENAME TO orders;
CREATE INDEX orders_product ON orders (product);
CREATE INDEX orders_unmigrated ON orders (id) WHERE unit_cents IS NULL;
