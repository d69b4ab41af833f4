-- What targets' own systems could not be told ahead of the voice.

CREATE TABLE undelivered (
    site    TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    contact TEXT   NOT NULL,
    -- Which transfer of the contact, from 1.
    number  BIGINT NOT NULL,
    target  TEXT   NOT NULL,
    -- Scheme, host and port; the rest of an address may hold a key.
    origin  TEXT   NOT NULL,
    tries   BIGINT NOT NULL,
    -- How the last try went: an HTTP status, or why there was none.
    status  BIGINT,
    why     TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (site, id)
);

-- What the target of a transfer says of it: operation data of the sub-center (分中心话务运行数据), each event once.

CREATE TABLE call_operations (
    site      TEXT   NOT NULL,
    contact   TEXT   NOT NULL,
    number    BIGINT NOT NULL,
    event     TEXT   NOT NULL,
    target    TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    wait_ms   BIGINT,
    talk_ms   BIGINT,
    agent     TEXT,
    recording TEXT,
    received  BIGINT NOT NULL,
    PRIMARY KEY (site, contact, number, event)
);
