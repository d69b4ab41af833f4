-- Recordings and work orders. Neither may wait for its call's record: no foreign key to calls.

CREATE TABLE recordings (
    site        TEXT   NOT NULL,
    id          TEXT   NOT NULL CHECK (length(id) = 26),
    revision    BIGINT NOT NULL,
    contact     TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    started     BIGINT NOT NULL,
    ended       BIGINT,
    duration_ms BIGINT,
    bytes       BIGINT,
    sha256      TEXT,
    damaged     BOOLEAN,
    PRIMARY KEY (site, id)
);
CREATE INDEX recordings_by_contact ON recordings (site, contact);

-- Every column but `state` belongs to the call, whose facts rewrite it by `revision`. What people decide later never
-- stands in a column of the call's.
CREATE TABLE orders (
    site      TEXT   NOT NULL,
    id        TEXT   NOT NULL CHECK (length(id) = 26),
    revision  BIGINT NOT NULL,
    state     TEXT   NOT NULL,
    contact   TEXT   NOT NULL,
    recording TEXT,
    caller    TEXT   NOT NULL,
    dialled   TEXT   NOT NULL,
    category  TEXT   NOT NULL,
    agent     TEXT,
    called    BIGINT NOT NULL,
    opened    BIGINT NOT NULL,
    answered  BIGINT,
    ended     BIGINT,
    PRIMARY KEY (site, id)
);
CREATE INDEX orders_by_state ON orders (site, state, id);
CREATE INDEX orders_by_contact ON orders (site, contact);

-- Append-only. Position 0 is the opening; each later step takes the next position.
CREATE TABLE order_history (
    site       TEXT   NOT NULL,
    order_id   TEXT   NOT NULL,
    position   BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    from_state TEXT,
    to_state   TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    reason     TEXT   NOT NULL,
    PRIMARY KEY (site, order_id, position),
    FOREIGN KEY (site, order_id) REFERENCES orders (site, id)
);
