-- Logs of facts, append-only: the fact's own id is the key by which each is taken once.

CREATE TABLE agent_states (
    site       TEXT   NOT NULL,
    id         TEXT   NOT NULL CHECK (length(id) = 26),
    at         BIGINT NOT NULL,
    agent      TEXT   NOT NULL,
    from_state TEXT   NOT NULL,
    to_state   TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    contact    TEXT,
    PRIMARY KEY (site, id)
);
CREATE INDEX agent_states_by_agent ON agent_states (site, agent, id);

CREATE TABLE audit (
    site    TEXT    NOT NULL,
    id      TEXT    NOT NULL CHECK (length(id) = 26),
    at      BIGINT  NOT NULL,
    actor   TEXT    NOT NULL,
    role    TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    allowed BOOLEAN NOT NULL,
    source  TEXT    NOT NULL,
    PRIMARY KEY (site, id)
);
