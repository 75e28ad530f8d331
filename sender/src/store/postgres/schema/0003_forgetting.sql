-- Up to which version it is forgotten what was removed. Whoever knows an older version than that reads everything anew.
ALTER TABLE configuration ADD COLUMN forgotten bigint NOT NULL DEFAULT 0;
