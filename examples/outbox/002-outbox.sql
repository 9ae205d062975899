-- The outbox: a row for each event, written in the transaction of what it tells. PostgreSQL 14 or later. May be applied again.
create sequence if not exists outbox_seq;
create table if not exists outbox (
  seq bigint primary key, -- by the trigger below
  event_id text not null unique default gen_random_uuid()::text check (length(event_id) between 1 and 200),
  event_type text not null check (length(event_type) between 1 and 200),
  schema_version integer not null default 1,
  aggregate_type text not null check (length(aggregate_type) between 1 and 200),
  aggregate_id text not null check (length(aggregate_id) between 1 and 200),
  payload text not null, -- JSON; what is none is set aside by the relay, and does not break the writer's transaction
  created_at timestamptz not null default clock_timestamp() check (isfinite(created_at)),
  published_at timestamptz,
  entry_id text, -- where it is in the stream
  set_aside_at timestamptz, -- the relay cannot publish it: see its reason
  reason text
);

create index if not exists outbox_waiting on outbox (seq) where published_at is null and set_aside_at is null;
create index if not exists outbox_published on outbox (published_at) where published_at is not null;
create index if not exists outbox_set_aside on outbox (aggregate_type, aggregate_id, seq) where set_aside_at is not null;

-- Writers of one aggregate wait for each other's commit, and take their number only then: numbers of an aggregate are in the order of its commits.
-- 1,024 locks are for all, so that a transaction of many aggregates does not use up the server's.
create or replace function outbox_in_order() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(tg_relid::integer, hashtext(new.aggregate_type || ':' || new.aggregate_id) & 1023);
  new.seq := nextval(format('%I.outbox_seq', tg_table_schema));
  return new;
end
$$;
create or replace trigger outbox_in_order before insert on outbox for each row execute function outbox_in_order();
