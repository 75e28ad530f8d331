-- When an event stops being worth delivering. Of a delivery only while it is live: the event keeps it.
ALTER TABLE events ADD COLUMN expires_at INTEGER;
ALTER TABLE delivery_live ADD COLUMN expires_at INTEGER;
-- What has run out is found without looking at what has not. Most events have no such time and no entry here.
CREATE INDEX delivery_live_expiry ON delivery_live (expires_at) WHERE expires_at IS NOT NULL;

-- The few deliveries that ended otherwise than well, of all endpoints. What was delivered has no entry here.
CREATE INDEX deliveries_failed ON attempts (state, delivery) WHERE state > 1;

-- By how many seconds a receiver's clock was ahead of ours, where that was notable.
ALTER TABLE attempts ADD COLUMN clock_skew INTEGER;
