-- What went wrong, in the order in which it was recorded: refused attempts, and deliveries that ended otherwise than
-- well. What was delivered at once has no entry here.
CREATE INDEX attempts_failed ON attempts (recorded_at) WHERE state > 1 OR status BETWEEN 400 AND 499;
