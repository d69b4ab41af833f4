-- Call-backs (回呼): who was promised one, since when they wait, every attempt, and how it ended.

CREATE TABLE callbacks (
    site       TEXT   NOT NULL,
    id         TEXT   NOT NULL CHECK (length(id) = 26),
    revision   BIGINT NOT NULL,
    number     TEXT   NOT NULL,
    queue      TEXT   NOT NULL,
    priority   BIGINT NOT NULL,
    source     TEXT   NOT NULL,
    contact    TEXT,
    order_id   TEXT,
    since      BIGINT NOT NULL,
    asked      BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    attempts   TEXT   NOT NULL,
    closed     BIGINT,
    result     TEXT,
    PRIMARY KEY (site, id)
);
CREATE INDEX callbacks_open ON callbacks (site, since) WHERE closed IS NULL;
CREATE INDEX callbacks_by_number ON callbacks (site, number, asked);

-- Missed calls: whether somebody came again, or was reached, since.
CREATE INDEX calls_queued_by_caller ON calls (site, caller, offered) WHERE queued IS NOT NULL;
CREATE INDEX calls_answered_by_dialled ON calls (site, dialled, offered) WHERE direction = 'outbound' AND answered IS NOT NULL;
