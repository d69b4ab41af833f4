-- Transfers to simulated lines, and orders of contacts in which one was tried: exercises (演练).

ALTER TABLE call_transfers ADD COLUMN drill BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE orders ADD COLUMN drill BOOLEAN NOT NULL DEFAULT FALSE;

-- The police's ticket (警单) that a call from an emergency line belongs to, and so its order.

ALTER TABLE calls ADD COLUMN ticket TEXT;
ALTER TABLE orders ADD COLUMN ticket TEXT;
