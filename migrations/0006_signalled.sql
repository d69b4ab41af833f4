-- What the network said about a call beside who called whom; of it, what the order must show.

ALTER TABLE calls ADD COLUMN caller_name TEXT;
ALTER TABLE calls ADD COLUMN original TEXT;
ALTER TABLE calls ADD COLUMN diverted TEXT;
ALTER TABLE calls ADD COLUMN emergency BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE calls ADD COLUMN place TEXT;
ALTER TABLE calls ADD COLUMN user_to_user TEXT;

ALTER TABLE orders ADD COLUMN emergency BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE orders ADD COLUMN place TEXT;
