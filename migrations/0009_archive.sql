-- What became of recordings after their end. These columns are the archive's alone: the recordings' facts leave them.

ALTER TABLE recordings ADD COLUMN archived       BIGINT;
ALTER TABLE recordings ADD COLUMN archive_object TEXT;
ALTER TABLE recordings ADD COLUMN archive_format TEXT;
ALTER TABLE recordings ADD COLUMN archive_bytes  BIGINT;
ALTER TABLE recordings ADD COLUMN archive_sha256 TEXT;
ALTER TABLE recordings ADD COLUMN local_removed  BIGINT;

-- Both are short: what waits for the archive, and what still lies here after it.
CREATE INDEX recordings_unarchived ON recordings (ended) WHERE archived IS NULL AND sha256 IS NOT NULL;
CREATE INDEX recordings_removable ON recordings (archived) WHERE archived IS NOT NULL AND local_removed IS NULL;
