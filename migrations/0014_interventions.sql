-- Who stepped into a contact beside the queues (监听 耳语 强插 接管 强拆 寄存 取回): in order, with raw times and result.

CREATE TABLE call_interventions (
    site     TEXT   NOT NULL,
    contact  TEXT   NOT NULL,
    position BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    by_whom  TEXT   NOT NULL,
    agent    TEXT,
    started  BIGINT NOT NULL,
    answered BIGINT,
    ended    BIGINT,
    result   TEXT,
    PRIMARY KEY (site, contact, position)
);
CREATE INDEX call_interventions_by_whom ON call_interventions (site, by_whom, started);
