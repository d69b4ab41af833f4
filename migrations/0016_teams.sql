-- Teams (班组), and skills that hold between two dates only (排班, for experts): milliseconds since 1970, the second is the
-- first moment without it.

ALTER TABLE agents ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE agent_skills ADD COLUMN valid_from BIGINT;
ALTER TABLE agent_skills ADD COLUMN valid_until BIGINT;
