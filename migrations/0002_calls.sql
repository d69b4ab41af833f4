-- Call records. Facts may come in any order and more than once, so no foreign key leaves this family, and a site need not
-- be known: the key (site, id) keeps sites apart and `revision` decides which telling stands.

CREATE TABLE calls (
    site           TEXT   NOT NULL,
    id             TEXT   NOT NULL CHECK (length(id) = 26),
    revision       BIGINT NOT NULL,
    caller         TEXT   NOT NULL,
    dialled        TEXT   NOT NULL,
    trunk          TEXT   NOT NULL,
    sip_call_id    TEXT   NOT NULL,
    queue          TEXT,
    agent          TEXT,
    offered        BIGINT NOT NULL,
    connected      BIGINT,
    ivr_in         BIGINT,
    ivr_out        BIGINT,
    queued         BIGINT,
    assigned       BIGINT,
    ringing        BIGINT,
    answered       BIGINT,
    caller_hangup  BIGINT,
    agent_hangup   BIGINT,
    ended          BIGINT,
    end_stage      TEXT,
    end_by         TEXT,
    end_sip_status BIGINT,
    end_q850       BIGINT,
    recording      TEXT,
    order_id       TEXT,
    PRIMARY KEY (site, id)
);
CREATE INDEX calls_by_time ON calls (site, offered);
CREATE INDEX calls_by_agent ON calls (site, agent, id) WHERE agent IS NOT NULL;

CREATE TABLE call_attempts (
    site     TEXT   NOT NULL,
    contact  TEXT   NOT NULL,
    position BIGINT NOT NULL,
    agent    TEXT   NOT NULL,
    assigned BIGINT NOT NULL,
    ringing  BIGINT,
    ended    BIGINT,
    outcome  TEXT,
    PRIMARY KEY (site, contact, position)
);

CREATE TABLE call_digits (
    site     TEXT   NOT NULL,
    contact  TEXT   NOT NULL,
    position BIGINT NOT NULL,
    node     TEXT   NOT NULL,
    digits   TEXT   NOT NULL,
    PRIMARY KEY (site, contact, position)
);
