-- Since when a target that had answered sent no RTP for three seconds (one-way media): the first time.

ALTER TABLE call_transfers ADD COLUMN mute BIGINT;
