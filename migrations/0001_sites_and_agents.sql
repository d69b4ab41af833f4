-- Sites and the people who answer for them. Times are BIGINT milliseconds since 1970 (UTC) in every table, stored ids
-- the 26 characters of a ULID. Statements here are read by SQLite and PostgreSQL alike.

CREATE TABLE sites (
    code      TEXT NOT NULL PRIMARY KEY,
    name      TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    area      TEXT NOT NULL
);

-- An agent is never deleted, only disabled: `number` is the dense id of the running machines and names in facts stay true.
CREATE TABLE agents (
    site         TEXT    NOT NULL REFERENCES sites (code),
    name         TEXT    NOT NULL,
    number       BIGINT  NOT NULL UNIQUE CHECK (number >= 0),
    display_name TEXT    NOT NULL,
    -- Digest realm: the domain the two hashes were made with. The password itself is nowhere.
    domain       TEXT    NOT NULL,
    ha1_md5      TEXT    NOT NULL CHECK (length(ha1_md5) = 32),
    ha1_sha256   TEXT    NOT NULL CHECK (length(ha1_sha256) = 64),
    enabled      BOOLEAN NOT NULL,
    PRIMARY KEY (site, name),
    UNIQUE (domain, name)
);

CREATE TABLE agent_skills (
    site  TEXT   NOT NULL,
    agent TEXT   NOT NULL,
    skill TEXT   NOT NULL,
    level BIGINT NOT NULL CHECK (level BETWEEN 1 AND 9),
    PRIMARY KEY (site, agent, skill),
    FOREIGN KEY (site, agent) REFERENCES agents (site, name)
);
