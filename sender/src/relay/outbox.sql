-- The transactional outbox of Waxseal: events that are published with your own transaction, or not at all.
--
-- Install: waxseal outbox sql | psql --single-transaction -v ON_ERROR_STOP=1 DATABASE
-- Running it again changes nothing, and brings an older version to this one. It needs PostgreSQL 13 or newer, CREATE on
-- the database, and CREATEROLE unless the two roles are there. `waxseal relay` then carries to the sender what was
-- committed. There is no trigger, no NOTIFY and no extension: publishing is one insert into one table.

DO $install$
BEGIN
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'waxseal_outbox' AND pg_get_userbyid(nspowner) <> current_user) THEN
        RAISE EXCEPTION 'the schema waxseal_outbox belongs to somebody else: install it as its owner';
    END IF;
    -- Roles belong to the whole server: another database may have them already, or be making them just now.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'waxseal_outbox_publisher') THEN
        BEGIN
            CREATE ROLE waxseal_outbox_publisher NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'waxseal_outbox_relay') THEN
        BEGIN
            CREATE ROLE waxseal_outbox_relay NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
END
$install$;

CREATE SCHEMA IF NOT EXISTS waxseal_outbox;

-- What was published and is not accepted by the sender yet. Rows live for moments: the relay deletes them.
CREATE TABLE IF NOT EXISTS waxseal_outbox.outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL,              -- the publisher's own id: makes a repetition known to the sender, travels as txn
    type text NOT NULL,
    data text,                     -- JSON, byte for byte
    bytes bytea,                   -- or anything else, with its media type
    content_type text,
    consumers text[],              -- to these, or
    group_name text,               -- to the members of this group, or to everybody who subscribed
    occurred_at timestamptz,
    expires_at timestamptz,
    size integer NOT NULL,         -- about so many bytes in a request
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tries integer NOT NULL DEFAULT 0,
    retry_at timestamptz,          -- the sender could not take this one; not again before
    retry_code text
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_threshold = 1000
);

-- What the sender will never accept as it is, and why. Nobody removes these rows but you: see requeue().
CREATE TABLE IF NOT EXISTS waxseal_outbox.refused (
    seq bigint PRIMARY KEY,
    id text NOT NULL,
    type text NOT NULL,
    data text,
    bytes bytea,
    content_type text,
    consumers text[],
    group_name text,
    occurred_at timestamptz,
    expires_at timestamptz,
    size integer NOT NULL,
    created_at timestamptz NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status integer NOT NULL,       -- as the sender's API answered
    code text NOT NULL,
    reason text NOT NULL
);

-- What the relay expects of this schema.
CREATE OR REPLACE FUNCTION waxseal_outbox.version() RETURNS integer
LANGUAGE sql IMMUTABLE AS 'SELECT 1';

CREATE OR REPLACE FUNCTION waxseal_outbox.refuse(field text, detail text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = field || ': ' || detail, COLUMN = field;
END
$$;

-- Checks what the sender's API would refuse, as far as it can be known here, and keeps the event.
CREATE OR REPLACE FUNCTION waxseal_outbox.keep(
    type text, data text, bytes bytea, content_type text, consumer text, consumers text[], group_name text,
    everybody boolean, id text, occurred_at timestamptz, expires_at timestamptz, ttl interval
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name CONSTANT text := '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$';
    named CONSTANT text := 'is 1 to 64 letters, digits and ._-, the first a letter or digit';
    present CONSTANT timestamptz := clock_timestamp();
    receivers integer := num_nonnulls(keep.consumer, keep.consumers, keep.group_name);
    kept_id text := coalesce(keep.id, gen_random_uuid()::text);
    until timestamptz := coalesce(keep.expires_at, present + keep.ttl);
BEGIN
    IF num_nonnulls(keep.data, keep.bytes) = 0 THEN
        PERFORM waxseal_outbox.refuse('data', 'required; JSON''s null is written ''null''');
    END IF;

    IF keep.type IS NULL THEN
        PERFORM waxseal_outbox.refuse('type', 'required');
    ELSIF NOT (length(keep.type) <= 128 AND keep.type ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$'
        OR length(keep.type) <= 512 AND keep.type ~ '^(https://|urn:)[]A-Za-z0-9._~:/?#[@!$&''()*+,;=%-]+$') THEN
        PERFORM waxseal_outbox.refuse('type',
            'expected a dotted name of [A-Za-z0-9_-] parts, at most 128 characters, or an https: or urn: URI');
    ELSIF keep.type = 'waxseal' OR starts_with(keep.type, 'waxseal.') THEN
        PERFORM waxseal_outbox.refuse('type', 'waxseal and everything under it are types of the sender itself');
    END IF;

    -- A receiver that a program failed to fill in must not become everybody.
    IF everybody IS NULL OR receivers + everybody::integer <> 1 THEN
        PERFORM waxseal_outbox.refuse('consumer',
            'expected exactly one of consumer, consumers, group_name, and everybody => true');
    ELSIF keep.consumer !~ name THEN
        PERFORM waxseal_outbox.refuse('consumer', 'a consumer''s id ' || named);
    ELSIF keep.group_name !~ name THEN
        PERFORM waxseal_outbox.refuse('group_name', 'a group''s name ' || named);
    ELSIF coalesce(array_ndims(keep.consumers), 1) <> 1 OR cardinality(keep.consumers) NOT BETWEEN 1 AND 1000 THEN
        PERFORM waxseal_outbox.refuse('consumers', 'expected 1 to 1000 consumers in one list');
    ELSIF EXISTS (SELECT FROM unnest(keep.consumers) AS each(one) WHERE one IS NULL OR one !~ name) THEN
        PERFORM waxseal_outbox.refuse('consumers', 'a consumer''s id ' || named);
    END IF;

    IF octet_length(keep.data) > 131072 THEN
        PERFORM waxseal_outbox.refuse('data',
            format('the JSON is %s bytes long, at most 131072 are allowed', octet_length(keep.data)));
    ELSIF octet_length(keep.bytes) > 98304 THEN
        PERFORM waxseal_outbox.refuse('data',
            format('the content is %s bytes long, at most 98304 are allowed', octet_length(keep.bytes)));
    END IF;
    IF octet_length(kept_id) NOT BETWEEN 1 AND 256 OR kept_id ~ '[[:cntrl:]\u0080-\u009f]' THEN
        PERFORM waxseal_outbox.refuse('id', 'expected 1 to 256 bytes without control characters');
    END IF;
    IF keep.occurred_at NOT BETWEEN 'epoch'::timestamptz AND present + interval '1 day' THEN
        PERFORM waxseal_outbox.refuse('occurred_at', 'expected a time from 1970 on, and at most one day ahead');
    END IF;
    IF keep.expires_at IS NOT NULL AND keep.ttl IS NOT NULL THEN
        PERFORM waxseal_outbox.refuse('ttl', 'expected either expires_at or ttl, not both');
    ELSIF until <= present OR until > present + interval '29 days' THEN
        -- The sender takes 30 days; its clock may be another.
        PERFORM waxseal_outbox.refuse(CASE WHEN keep.ttl IS NULL THEN 'expires_at' ELSE 'ttl' END,
            'expected a time in the future, at most 29 days ahead');
    END IF;

    INSERT INTO waxseal_outbox.outbox
        (id, type, data, bytes, content_type, consumers, group_name, occurred_at, expires_at, size)
    VALUES (
        kept_id, keep.type, keep.data, keep.bytes, keep.content_type,
        coalesce(keep.consumers, CASE WHEN keep.consumer IS NOT NULL THEN ARRAY[keep.consumer] END),
        keep.group_name, keep.occurred_at, until,
        coalesce(octet_length(keep.data), 0) + coalesce(octet_length(keep.bytes) * 4 / 3, 0)
            + coalesce(octet_length(array_to_string(keep.consumers, '____')), 0) + 1024
    );
    RETURN kept_id;
END
$$;

-- Publishes JSON with the transaction that calls it. Returns the event's id: yours, or a new one.
CREATE OR REPLACE FUNCTION waxseal_outbox.publish(
    type text, data jsonb, consumer text DEFAULT NULL, consumers text[] DEFAULT NULL, group_name text DEFAULT NULL,
    everybody boolean DEFAULT false, id text DEFAULT NULL, occurred_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL, ttl interval DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN waxseal_outbox.keep(publish.type, data::text, NULL, NULL, consumer, consumers, group_name, everybody, id,
        occurred_at, expires_at, ttl);
END
$$;

-- The same for JSON that is to arrive byte for byte: jsonb knows neither the order of members nor how numbers were written.
CREATE OR REPLACE FUNCTION waxseal_outbox.publish_text(
    type text, data text, consumer text DEFAULT NULL, consumers text[] DEFAULT NULL, group_name text DEFAULT NULL,
    everybody boolean DEFAULT false, id text DEFAULT NULL, occurred_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL, ttl interval DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    BEGIN
        PERFORM data::json;
    EXCEPTION WHEN OTHERS THEN
        PERFORM waxseal_outbox.refuse('data', 'expected JSON; for other content there is publish_bytes');
    END;
    RETURN waxseal_outbox.keep(publish_text.type, data, NULL, NULL, consumer, consumers, group_name, everybody, id,
        occurred_at, expires_at, ttl);
END
$$;

-- The same for content that is not JSON.
CREATE OR REPLACE FUNCTION waxseal_outbox.publish_bytes(
    type text, data bytea, content_type text, consumer text DEFAULT NULL, consumers text[] DEFAULT NULL,
    group_name text DEFAULT NULL, everybody boolean DEFAULT false, id text DEFAULT NULL,
    occurred_at timestamptz DEFAULT NULL, expires_at timestamptz DEFAULT NULL, ttl interval DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF content_type IS NULL OR length(content_type) > 128
        OR content_type !~ '^[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-][ -~]*$' THEN
        PERFORM waxseal_outbox.refuse('content_type', 'expected a media type, such as image/png');
    END IF;
    RETURN waxseal_outbox.keep(publish_bytes.type, NULL, data, content_type, consumer, consumers, group_name, everybody,
        id, occurred_at, expires_at, ttl);
END
$$;

-- Gives a refused event to the relay again, under the same id, when what was wrong is mended. False: there is none such.
CREATE OR REPLACE FUNCTION waxseal_outbox.requeue(which bigint) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH again AS (DELETE FROM waxseal_outbox.refused WHERE seq = which RETURNING *),
    queued AS (
        INSERT INTO waxseal_outbox.outbox
            (id, type, data, bytes, content_type, consumers, group_name, occurred_at, expires_at, size, created_at)
        SELECT id, type, data, bytes, content_type, consumers, group_name, occurred_at, expires_at, size, created_at
        FROM again RETURNING 1)
    SELECT EXISTS (SELECT FROM queued);
$$;

-- All of those that were refused with this code; returns how many.
CREATE OR REPLACE FUNCTION waxseal_outbox.requeue_all(with_code text) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) FROM (
        SELECT waxseal_outbox.requeue(seq) AS queued FROM waxseal_outbox.refused WHERE code = with_code
    ) AS each WHERE queued;
$$;

REVOKE ALL ON SCHEMA waxseal_outbox FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA waxseal_outbox FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA waxseal_outbox FROM PUBLIC;

-- GRANT waxseal_outbox_publisher TO whoever publishes. They can call publish*, and read nothing.
GRANT USAGE ON SCHEMA waxseal_outbox TO waxseal_outbox_publisher, waxseal_outbox_relay;
GRANT EXECUTE ON FUNCTION
    waxseal_outbox.publish(text, jsonb, text, text[], text, boolean, text, timestamptz, timestamptz, interval),
    waxseal_outbox.publish_text(text, text, text, text[], text, boolean, text, timestamptz, timestamptz, interval),
    waxseal_outbox.publish_bytes(text, bytea, text, text, text[], text, boolean, text, timestamptz, timestamptz, interval)
TO waxseal_outbox_publisher;

-- GRANT waxseal_outbox_relay TO the user of `waxseal relay`. To lock a row needs UPDATE of one column.
GRANT EXECUTE ON FUNCTION waxseal_outbox.version() TO waxseal_outbox_relay;
GRANT SELECT, DELETE, UPDATE (tries, retry_at, retry_code) ON waxseal_outbox.outbox TO waxseal_outbox_relay;
GRANT INSERT, SELECT (seq, refused_at, code) ON waxseal_outbox.refused TO waxseal_outbox_relay;
