-- The shop's own table. May be applied again.
create table if not exists orders (
  order_id text primary key check (length(order_id) between 1 and 64),
  cents bigint not null check (cents > 0),
  state text not null default 'placed' check (state in ('placed', 'paid', 'cancelled'))
);
