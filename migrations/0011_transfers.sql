-- Transfers of a contact (一键转接): every one that was begun, in order, with its raw times and result.

CREATE TABLE call_transfers (
    site     TEXT   NOT NULL,
    contact  TEXT   NOT NULL,
    position BIGINT NOT NULL,
    target   TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    mode     TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    agent    TEXT   NOT NULL,
    started  BIGINT NOT NULL,
    answered BIGINT,
    joined   BIGINT,
    handed   BIGINT,
    ended    BIGINT,
    result   TEXT,
    routes   TEXT   NOT NULL,
    PRIMARY KEY (site, contact, position)
);
CREATE INDEX call_transfers_by_target ON call_transfers (site, target, started);
