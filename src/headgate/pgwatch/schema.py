"""The tables and functions of pgwatch, as SQL that may be run again and again.

How it works: `keys` is the present, `events` every version that a key ever had, `revisions` the transactions. The
order of revisions is made a fact of commits: whoever allocates one holds an advisory lock of the database until it
has committed, so a reader that sees a revision sees all below it, and gaps (of transactions that failed) mean
nothing. `txn` takes the lock first and is meant to be a transaction of its own.

The disk is not waited for under the lock. `write` runs `txn` in a transaction whose commit is not flushed, which ends
the lock, then flushes by an empty transaction; PostgreSQL does that for all who wait in one go. The order of commits is
that of the log, so a crash loses only revisions from the end, of which no writer was told. Readers are not told of them
either: `_flushed`, a part of each read, waits until the log is on disk as far as the read has seen.

`put` and `del` may stand anywhere in a transaction of the user's: they only note what is wanted, in `pending`, and a
deferred trigger does it at commit, so that the lock is held for the moment of the commit (and its flush) and not for
the whole of the user's transaction.
"""

VERSION = 2
CHANNEL = "pgwatch"
LOCK = 0x7067776174636801

TABLES = f"""
CREATE SCHEMA IF NOT EXISTS pgwatch;
CREATE TABLE IF NOT EXISTS pgwatch.meta(
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  version integer NOT NULL,
  epoch text NOT NULL,
  oldest bigint NOT NULL DEFAULT 0,
  leases_seen timestamptz NOT NULL DEFAULT clock_timestamp());
INSERT INTO pgwatch.meta(version, epoch)
  VALUES ({VERSION}, left(md5(random()::text || clock_timestamp()::text), 12)) ON CONFLICT DO NOTHING;
UPDATE pgwatch.meta SET version = {VERSION} WHERE version < {VERSION};
CREATE SEQUENCE IF NOT EXISTS pgwatch.revision;
CREATE TABLE IF NOT EXISTS pgwatch.revisions(
  revision bigint PRIMARY KEY,
  mark text NOT NULL UNIQUE,
  at timestamptz NOT NULL,
  author text NOT NULL,
  note text NOT NULL);
CREATE INDEX IF NOT EXISTS revisions_at ON pgwatch.revisions(at);
CREATE TABLE IF NOT EXISTS pgwatch.events(
  revision bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  value bytea,
  created bigint NOT NULL,
  version bigint NOT NULL,
  lease bigint,
  former bigint,
  PRIMARY KEY (revision, key));
CREATE INDEX IF NOT EXISTS events_of_key ON pgwatch.events(key, revision);
CREATE TABLE IF NOT EXISTS pgwatch.keys(
  key text COLLATE "C" PRIMARY KEY,
  value bytea NOT NULL,
  created bigint NOT NULL,
  modified bigint NOT NULL,
  version bigint NOT NULL,
  lease bigint);
CREATE INDEX IF NOT EXISTS keys_of_lease ON pgwatch.keys(lease) WHERE lease IS NOT NULL;
CREATE TABLE IF NOT EXISTS pgwatch.leases(
  lease bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ttl interval NOT NULL,
  until timestamptz NOT NULL);
CREATE UNLOGGED TABLE IF NOT EXISTS pgwatch.pending(
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text COLLATE "C" NOT NULL,
  value bytea,
  lease bigint,
  expected bigint);
"""

WRITING = f"""
-- Makes the next revision's number; the lock is held.
CREATE OR REPLACE FUNCTION pgwatch._next() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  now_at bigint := nextval('pgwatch.revision');
  newest bigint;
BEGIN
  SELECT max(revision) INTO newest FROM pgwatch.revisions;
  IF now_at <= newest THEN  -- a sequence that was restored without its tables
    now_at := newest + 1;
    PERFORM setval('pgwatch.revision', now_at);
  END IF;
  RETURN now_at;
END $$;

-- The events of a revision of one key, and what the key holds from then on.
CREATE OR REPLACE FUNCTION pgwatch._record_one(name text, content bytea, lease_id bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  now_at bigint;
  old record;
BEGIN
  SELECT k.created, k.modified, k.version INTO old FROM pgwatch.keys k WHERE k.key = name;
  IF content IS NULL AND NOT FOUND THEN
    RETURN NULL;
  END IF;
  now_at := pgwatch._next();
  INSERT INTO pgwatch.events(revision, key, value, created, version, lease, former)
    VALUES (now_at, name, content, coalesce(old.created, now_at), coalesce(old.version, 0) + 1, lease_id, old.modified);
  IF content IS NULL THEN
    DELETE FROM pgwatch.keys k WHERE k.key = name;
  ELSIF old.modified IS NULL THEN
    INSERT INTO pgwatch.keys VALUES (name, content, now_at, now_at, 1, lease_id);
  ELSE
    UPDATE pgwatch.keys k SET value = content, modified = now_at, version = old.version + 1, lease = lease_id
      WHERE k.key = name;
  END IF;
  RETURN now_at;
END $$;

-- The same of many keys.
CREATE OR REPLACE FUNCTION pgwatch._record_many(names text[], contents bytea[], lease_ids bigint[])
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  now_at bigint;
BEGIN
  IF NOT EXISTS (
    SELECT FROM unnest(names, contents) w(key, value) LEFT JOIN pgwatch.keys k USING (key)
    WHERE w.value IS NOT NULL OR k.key IS NOT NULL) THEN
    RETURN NULL;
  END IF;
  now_at := pgwatch._next();
  INSERT INTO pgwatch.events(revision, key, value, created, version, lease, former)
    SELECT now_at, w.key, w.value, coalesce(k.created, now_at), coalesce(k.version, 0) + 1, w.lease, k.modified
    FROM unnest(names, contents, lease_ids) w(key, value, lease) LEFT JOIN pgwatch.keys k USING (key)
    WHERE w.value IS NOT NULL OR k.key IS NOT NULL;
  DELETE FROM pgwatch.keys k USING pgwatch.events e
    WHERE e.revision = now_at AND e.value IS NULL AND k.key = e.key;
  INSERT INTO pgwatch.keys(key, value, created, modified, version, lease)
    SELECT e.key, e.value, e.created, e.revision, e.version, e.lease
    FROM pgwatch.events e WHERE e.revision = now_at AND e.value IS NOT NULL
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, modified = excluded.modified,
      version = excluded.version, lease = excluded.lease;
  RETURN now_at;
END $$;

-- Makes a revision and wakes those who listen; the lock is held. Gives null where nothing would change.
CREATE OR REPLACE FUNCTION pgwatch._record(
  names text[], contents bytea[], lease_ids bigint[], author text, note text, mark text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  now_at bigint;
  lease_id bigint;
BEGIN
  FOREACH lease_id IN ARRAY lease_ids LOOP
    IF lease_id IS NOT NULL THEN  -- apart, since a condition with a query is a query
      IF NOT EXISTS (SELECT FROM pgwatch.leases l WHERE l.lease = lease_id) THEN
        RAISE EXCEPTION 'there is no such lease' USING ERRCODE = 'PW002';
      END IF;
    END IF;
  END LOOP;
  IF cardinality(names) = 1 THEN
    now_at := pgwatch._record_one(names[1], contents[1], lease_ids[1]);
  ELSE
    now_at := pgwatch._record_many(names, contents, lease_ids);
  END IF;
  IF now_at IS NOT NULL THEN
    INSERT INTO pgwatch.revisions VALUES (
      now_at, coalesce(mark, left(md5(random()::text || now_at::text), 12)), clock_timestamp(),
      coalesce(author, ''), coalesce(note, ''));
    PERFORM pg_notify('{CHANNEL}', now_at::text);
  END IF;
  RETURN now_at;
END $$;
DROP TRIGGER IF EXISTS notify ON pgwatch.revisions;  -- of version 1
DROP FUNCTION IF EXISTS pgwatch._notify();

-- Compares and writes, as a transaction of its own. An expected revision of 0 means: there is no such key.
-- Of keys that begin with a text of `prefixes`, none may be newer than `unchanged_since`.
CREATE OR REPLACE FUNCTION pgwatch.txn(
  expected_keys text[], expected_revisions bigint[], names text[], contents bytea[], lease_ids bigint[],
  author text DEFAULT '', note text DEFAULT '', transaction_mark text DEFAULT NULL,
  unchanged_prefix text DEFAULT NULL, unchanged_since bigint DEFAULT NULL,
  OUT is_done boolean, OUT revision bigint, OUT refused_key text, OUT refused_at bigint)
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock({LOCK});
  is_done := true;
  IF transaction_mark IS NOT NULL THEN
    SELECT r.revision INTO revision FROM pgwatch.revisions r WHERE r.mark = transaction_mark;
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  IF cardinality(expected_keys) > 0 THEN
    SELECT c.key, coalesce(k.modified, 0) INTO refused_key, refused_at
      FROM unnest(expected_keys, expected_revisions) c(key, expected) LEFT JOIN pgwatch.keys k USING (key)
      WHERE coalesce(k.modified, 0) <> c.expected LIMIT 1;
    is_done := NOT FOUND;
  END IF;
  IF is_done AND unchanged_since IS NOT NULL THEN
    SELECT NULL, max(e.revision) INTO refused_key, refused_at FROM pgwatch.events e
      WHERE e.revision > unchanged_since AND starts_with(e.key, unchanged_prefix);
    is_done := refused_at IS NULL;
  END IF;
  IF is_done THEN
    revision := pgwatch._record(names, contents, lease_ids, author, note, transaction_mark);
  END IF;
  IF revision IS NULL THEN
    SELECT coalesce(max(r.revision), 0) INTO revision FROM pgwatch.revisions r;
  END IF;
END $$;

-- The same as a transaction of its own that ends the lock before it is flushed; to be called outside of any other.
CREATE OR REPLACE PROCEDURE pgwatch.write(
  expected_keys text[], expected_revisions bigint[], names text[], contents bytea[], lease_ids bigint[],
  author text, note text, transaction_mark text, unchanged_prefix text, unchanged_since bigint,
  INOUT is_done boolean DEFAULT NULL, INOUT revision bigint DEFAULT NULL,
  INOUT refused_key text DEFAULT NULL, INOUT refused_at bigint DEFAULT NULL)
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  SELECT t.* INTO is_done, revision, refused_key, refused_at FROM pgwatch.txn(
    expected_keys, expected_revisions, names, contents, lease_ids, author, note, transaction_mark,
    unchanged_prefix, unchanged_since) t;
  COMMIT;
  -- a message in the log that nobody reads: its commit writes the log to disk, as `synchronous_commit` says
  PERFORM pg_logical_emit_message(true, 'pgwatch', '');
END $$;
-- Waits until what the calling statement sees is on disk, and on the synchronous standbys. The newest revision was made
-- at `newest_at`; old ones are there, as nothing waits longer than three times `wal_writer_delay` (10 s at most).
CREATE OR REPLACE FUNCTION pgwatch._flushed(newest_at timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  seen pg_lsn;
BEGIN
  IF newest_at IS NULL OR newest_at < clock_timestamp() - interval '40 s'
    OR current_setting('synchronous_commit') = 'off' THEN
    RETURN true;
  END IF;
  IF current_setting('synchronous_standby_names') <> '' THEN
    PERFORM pg_logical_emit_message(true, 'pgwatch', '');
    RETURN true;
  END IF;
  seen := pg_current_wal_insert_lsn();
  FOR turn IN 1..10 LOOP  -- a writer is about to flush
    IF pg_current_wal_flush_lsn() >= seen THEN
      RETURN true;
    END IF;
    PERFORM pg_sleep(0.0005);
  END LOOP;
  PERFORM pg_logical_emit_message(true, 'pgwatch', '');  -- or has gone
  RETURN true;
END $$;

-- Notes what is to be written when the surrounding transaction commits.
CREATE OR REPLACE FUNCTION pgwatch.put(key text, value bytea, lease bigint DEFAULT NULL, expected bigint DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
  INSERT INTO pgwatch.pending(key, value, lease, expected) VALUES ($1, $2, $3, $4);
$$;
CREATE OR REPLACE FUNCTION pgwatch.put(key text, value text, lease bigint DEFAULT NULL, expected bigint DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
  INSERT INTO pgwatch.pending(key, value, lease, expected) VALUES ($1, convert_to($2, 'UTF8'), $3, $4);
$$;
CREATE OR REPLACE FUNCTION pgwatch.del(key text, expected bigint DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
  INSERT INTO pgwatch.pending(key, expected) VALUES ($1, $2);
$$;
CREATE OR REPLACE FUNCTION pgwatch._commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wanted record;
BEGIN
  IF NOT EXISTS (SELECT FROM pgwatch.pending WHERE position = NEW.position) THEN
    RETURN NULL;  -- an earlier row of this transaction took all
  END IF;
  PERFORM pg_advisory_xact_lock({LOCK});
  SELECT p.key, p.expected, coalesce(k.modified, 0) AS found INTO wanted
    FROM pgwatch.pending p LEFT JOIN pgwatch.keys k USING (key)
    WHERE p.expected IS NOT NULL AND p.expected <> coalesce(k.modified, 0) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '`%` is at revision %, not %', wanted.key, wanted.found, wanted.expected
      USING ERRCODE = 'PW001';
  END IF;
  WITH taken AS (DELETE FROM pgwatch.pending RETURNING position, key, value, lease),
    last AS (SELECT DISTINCT ON (key) key, value, lease FROM taken ORDER BY key, position DESC)
  SELECT array_agg(key) AS names, array_agg(value) AS contents, array_agg(lease) AS lease_ids INTO wanted FROM last;
  PERFORM pgwatch._record(wanted.names, wanted.contents, wanted.lease_ids,
    coalesce(nullif(current_setting('pgwatch.author', true), ''), session_user::text),
    current_setting('pgwatch.note', true), NULL);
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS at_commit ON pgwatch.pending;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON pgwatch.pending
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pgwatch._commit();
"""

KEEPING = f"""
-- Forgets what was before a revision; gives the oldest that is kept.
CREATE OR REPLACE FUNCTION pgwatch.compact(before bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  kept bigint;
BEGIN
  UPDATE pgwatch.meta SET oldest = greatest(oldest, least(before, (
    SELECT coalesce(max(revision), 0) FROM pgwatch.revisions))) RETURNING oldest INTO kept;
  DELETE FROM pgwatch.events e WHERE e.revision < kept AND (e.value IS NULL OR EXISTS (
    SELECT FROM pgwatch.events n WHERE n.key = e.key AND n.revision > e.revision AND n.revision < kept));
  DELETE FROM pgwatch.revisions WHERE revision < kept;
  RETURN kept;
END $$;
CREATE OR REPLACE FUNCTION pgwatch.compact(older_than interval) RETURNS bigint LANGUAGE sql AS $$
  SELECT pgwatch.compact(coalesce(max(revision) + 1, 0)) FROM pgwatch.revisions
  WHERE at <= clock_timestamp() - older_than;
$$;

CREATE OR REPLACE FUNCTION pgwatch.lease_grant(ttl interval) RETURNS bigint LANGUAGE sql AS $$
  INSERT INTO pgwatch.leases(ttl, until) VALUES ($1, clock_timestamp() + $1) RETURNING lease;
$$;
-- Whether the lease is still there; then it lasts as long as at first.
CREATE OR REPLACE FUNCTION pgwatch.lease_keep(id bigint) RETURNS boolean LANGUAGE sql AS $$
  WITH kept AS (UPDATE pgwatch.leases SET until = clock_timestamp() + ttl WHERE lease = $1 RETURNING 1)
  SELECT EXISTS (SELECT FROM kept);
$$;
CREATE OR REPLACE FUNCTION pgwatch._lease_end(ids bigint[], note text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  names text[];
BEGIN
  PERFORM pg_advisory_xact_lock({LOCK});
  DELETE FROM pgwatch.leases WHERE lease = ANY (ids);
  SELECT array_agg(key) INTO names FROM pgwatch.keys WHERE lease = ANY (ids);
  IF names IS NOT NULL THEN
    PERFORM pgwatch._record(names, array_fill(NULL::bytea, ARRAY[cardinality(names)]),
      array_fill(NULL::bigint, ARRAY[cardinality(names)]), 'pgwatch', note, NULL);
  END IF;
END $$;
CREATE OR REPLACE FUNCTION pgwatch.lease_revoke(id bigint) RETURNS void LANGUAGE sql AS $$
  SELECT pgwatch._lease_end(ARRAY[id], 'lease revoked');
$$;
-- Ends the leases that are over. Where nobody has asked for longer than `patience`, or the clock went back, the
-- server was away or its clock was set: then every lease begins anew, since no holder could renew it.
CREATE OR REPLACE FUNCTION pgwatch.lease_expire(patience interval DEFAULT '10 s') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  instant timestamptz := clock_timestamp();
  seen timestamptz;
  ids bigint[];
BEGIN
  SELECT leases_seen INTO seen FROM pgwatch.meta;
  IF instant - seen BETWEEN '0 s' AND '0.5 s' OR NOT pg_try_advisory_xact_lock({LOCK} + 1) THEN
    RETURN;
  END IF;
  UPDATE pgwatch.meta SET leases_seen = instant;
  IF instant < seen OR instant - seen > patience THEN
    UPDATE pgwatch.leases SET until = instant + ttl;
    RETURN;
  END IF;
  SELECT array_agg(lease) INTO ids FROM pgwatch.leases WHERE until < instant;
  IF ids IS NOT NULL THEN
    PERFORM pgwatch._lease_end(ids, 'lease expired');
  END IF;
END $$;
"""

INSTALL = TABLES + WRITING + KEEPING
