-- Counts up with every change of agents, their skills and secrets, so that a running node need not read them all to
-- learn that nothing changed. One row.
CREATE TABLE people (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);
INSERT INTO people (id, revision) VALUES (1, 0);
