-- Seats (座席): a phone that belongs to a desk. Whoever logs in to a seat has its phone for theirs, and has it alone.

CREATE TABLE seats (
    site       TEXT NOT NULL REFERENCES sites (code),
    name       TEXT NOT NULL,
    -- Digest realm: the domain the two hashes were made with. The password itself is nowhere.
    domain     TEXT NOT NULL,
    ha1_md5    TEXT NOT NULL CHECK (length(ha1_md5) = 32),
    ha1_sha256 TEXT NOT NULL CHECK (length(ha1_sha256) = 64),
    PRIMARY KEY (site, name),
    UNIQUE (domain, name)
);

ALTER TABLE agents ADD COLUMN seat TEXT;
CREATE UNIQUE INDEX agents_by_seat ON agents (site, seat);
