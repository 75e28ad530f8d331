-- What went wrong, in the order in which it was recorded: refused attempts, and deliveries that ended otherwise than
-- well. What was delivered at once has no entry here.
CREATE INDEX attempts_failed ON attempts (recorded_at) WHERE state > 1 OR status BETWEEN 400 AND 499;

-- Who changed what. Written once with the change, never changed, forgotten by age. What was changed, and how, is
-- ciphertext; what is searched by is not.
CREATE TABLE audit (
    id       BLOB NOT NULL PRIMARY KEY,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    object   TEXT NOT NULL,
    consumer TEXT,
    sealed   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_of_object ON audit (object, id);
CREATE INDEX audit_of_consumer ON audit (consumer, id) WHERE consumer IS NOT NULL;
CREATE INDEX audit_of_actor ON audit (actor, id);
