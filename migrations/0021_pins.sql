-- PINs: what an agent types at a seat's phone to log in there; hashed, NULL for who has none.
ALTER TABLE agents ADD COLUMN pin TEXT;
-- Tried since the last right one, and when the last one was looked at (ms of Unix time).
ALTER TABLE agents ADD COLUMN pin_tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN pin_tried BIGINT NOT NULL DEFAULT 0;
