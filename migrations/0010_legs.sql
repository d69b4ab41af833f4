-- How the media of each leg of a call were. A leg is told once, when its port is closed; of two tellings (a crash can come
-- between) the one of more packets stands. Jitter and round trip in microseconds, mean opinion scores in hundredths.

CREATE TABLE call_legs (
    site                TEXT   NOT NULL,
    contact             TEXT   NOT NULL CHECK (length(contact) = 26),
    leg                 BIGINT NOT NULL,
    party               TEXT   NOT NULL,
    agent               TEXT,
    trunk               TEXT,
    codec               TEXT   NOT NULL,
    opened              BIGINT NOT NULL,
    closed              BIGINT NOT NULL,
    received            BIGINT NOT NULL,
    received_lost       BIGINT NOT NULL,
    received_jitter_us  BIGINT NOT NULL,
    received_mos        BIGINT,
    sent                BIGINT NOT NULL,
    sent_lost           BIGINT NOT NULL,
    sent_jitter_us      BIGINT NOT NULL,
    sent_mos            BIGINT,
    dropped             BIGINT NOT NULL,
    round_trip_us       BIGINT,
    one_way             BOOLEAN NOT NULL,
    PRIMARY KEY (site, contact, leg)
);
