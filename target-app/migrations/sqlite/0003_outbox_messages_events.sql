-- What to undo should its order not come to be. A row is written before the order's first step and goes to `done` in the
-- transaction that stores the order, or when everything was undone.
CREATE TABLE outbox (
    order_id    TEXT   PRIMARY KEY,
    state       TEXT   NOT NULL CHECK (state IN ('open', 'undoing', 'done')),
    undo_stock  BIGINT NOT NULL,
    undo_charge BIGINT NOT NULL,
    attempts    BIGINT NOT NULL DEFAULT 0,
    owner       TEXT   NOT NULL,
    due_at_ms   BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_at_ms) WHERE state <> 'done';
CREATE INDEX outbox_done ON outbox (updated_at_ms) WHERE state = 'done';

-- Messages that were processed.
CREATE TABLE messages (
    id             TEXT   PRIMARY KEY,
    received_at_ms BIGINT NOT NULL
);
CREATE INDEX messages_received ON messages (received_at_ms);

-- What the payment provider has told to be settled; one order may be settled in parts.
ALTER TABLE orders ADD COLUMN settled_cents BIGINT NOT NULL DEFAULT 0;

-- Analytics.
CREATE TABLE events (
    id             TEXT   PRIMARY KEY,
    kind           TEXT   NOT NULL,
    product        BIGINT,
    received_at_ms BIGINT NOT NULL
);
CREATE INDEX events_received ON events (received_at_ms);

CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at_ms);
CREATE INDEX orders_product ON orders (product);
