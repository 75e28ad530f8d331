-- Whether an event's content is kept. Without it the row says only that there was such an event, and for whom.
ALTER TABLE events ADD COLUMN content INTEGER NOT NULL DEFAULT 1;

-- The oldest events, those with content apart from those without: where removing by age goes on.
CREATE INDEX events_by_age ON events (content, accepted_at);
