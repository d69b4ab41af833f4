-- Calls refused at the edge for want of room (呼损), by minute and trunk. Append-only, by the fact's own id.

CREATE TABLE blocked (
    site  TEXT   NOT NULL,
    id    TEXT   NOT NULL CHECK (length(id) = 26),
    at    BIGINT NOT NULL,
    trunk TEXT   NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (site, id)
);
