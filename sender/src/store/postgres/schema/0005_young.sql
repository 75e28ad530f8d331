-- Whether there is an attempt in a day's partition that is too young for it to go: attempts are appended as time passes, so
-- a few numbers for each stretch of the table tell. The server writes them down as the table grows.
CREATE INDEX attempts_by_record ON attempts USING brin (recorded_at) WITH (autosummarize = on);
