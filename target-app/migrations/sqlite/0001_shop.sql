-- Ids are text, times are milliseconds since 1970, money is cents.
CREATE TABLE products (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    category    INTEGER NOT NULL,
    price_cents BIGINT  NOT NULL
);

CREATE TABLE orders (
    id              TEXT    PRIMARY KEY,
    product         INTEGER NOT NULL REFERENCES products (id),
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    total_cents     BIGINT  NOT NULL,
    charge          TEXT    NOT NULL,
    idempotency_key TEXT    UNIQUE,
    created_at_ms   BIGINT  NOT NULL
);

-- The final answer to each key. An answer is stored together with its order, or not at all.
CREATE TABLE idempotency_keys (
    key           TEXT    PRIMARY KEY,
    fingerprint   TEXT    NOT NULL,
    status        INTEGER NOT NULL,
    body          TEXT    NOT NULL,
    order_id      TEXT,
    created_at_ms BIGINT  NOT NULL
);
