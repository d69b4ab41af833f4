-- Who put an agent into a state, when it was somebody else than the agent (a supervisor's forced pause or log-out).

ALTER TABLE agent_states ADD COLUMN forced_by TEXT;
