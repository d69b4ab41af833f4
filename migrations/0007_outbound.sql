-- Outbound calls (外呼): which way a call goes, and every route it was tried by.

ALTER TABLE calls ADD COLUMN direction TEXT NOT NULL DEFAULT 'inbound';

CREATE TABLE call_routes (
    site        TEXT   NOT NULL,
    contact     TEXT   NOT NULL,
    position    BIGINT NOT NULL,
    trunk       TEXT   NOT NULL,
    seized      BIGINT NOT NULL,
    provisional BIGINT,
    ringing     BIGINT,
    ended       BIGINT,
    sip_status  BIGINT,
    PRIMARY KEY (site, contact, position)
);
