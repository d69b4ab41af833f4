-- How citizens were served, by their own word (满意度评价): asked after the talk, tied to contact, agent, target and order.

CREATE TABLE call_satisfaction (
    site     TEXT   NOT NULL,
    contact  TEXT   NOT NULL,
    flow     TEXT   NOT NULL,
    agent    TEXT,
    target   TEXT,
    order_id TEXT,
    asked    BIGINT NOT NULL,
    answered BIGINT,
    score    BIGINT,
    PRIMARY KEY (site, contact)
);
CREATE INDEX call_satisfaction_by_agent ON call_satisfaction (site, agent, asked);
