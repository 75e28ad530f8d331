-- Removes the transactional outbox of Waxseal from a database.
--
-- Run: waxseal outbox sql --uninstall | psql --single-transaction -v ON_ERROR_STOP=1 DATABASE
-- Nothing is removed while events wait or were refused: let `waxseal relay --once` carry them, or delete the rows.

DO $uninstall$
DECLARE
    left_over bigint := 0;
BEGIN
    IF to_regclass('waxseal_outbox.outbox') IS NOT NULL THEN
        -- Nobody publishes between looking and dropping.
        LOCK TABLE waxseal_outbox.outbox, waxseal_outbox.refused IN ACCESS EXCLUSIVE MODE;
        SELECT (SELECT count(*) FROM waxseal_outbox.outbox) + (SELECT count(*) FROM waxseal_outbox.refused) INTO left_over;
    END IF;
    IF left_over > 0 THEN
        RAISE EXCEPTION '% events are in waxseal_outbox.outbox and waxseal_outbox.refused', left_over
            USING HINT = 'let `waxseal relay --once` carry what waits, and delete from waxseal_outbox.refused';
    END IF;
    DROP SCHEMA IF EXISTS waxseal_outbox CASCADE;
END
$uninstall$;

-- The roles belong to the whole server: they stay as long as another database grants them something.
DO $uninstall$
BEGIN
    DROP ROLE IF EXISTS waxseal_outbox_publisher, waxseal_outbox_relay;
EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
    RAISE NOTICE 'the roles waxseal_outbox_publisher and waxseal_outbox_relay were left';
END
$uninstall$;
