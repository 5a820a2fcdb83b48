-- Plain enough for SQLite and PostgreSQL alike. Money is in cents, as an integer.
create table products (
    id bigint primary key,
    name text not null,
    price_cents bigint not null check (price_cents > 0)
);

create table orders (
    id text primary key,
    customer text not null,
    total_cents bigint not null check (total_cents > 0),
    receipt text
);

create table order_lines (
    order_id text not null references orders (id),
    product_id bigint not null references products (id),
    quantity bigint not null check (quantity > 0),
    price_cents bigint not null check (price_cents > 0),
    primary key (order_id, product_id)
);

insert into products (id, name, price_cents) values
    (1, 'storm lantern', 2490),
    (2, 'rope, ten metres', 1250),
    (3, 'sea boots', 7900),
    (4, 'fog horn', 3600),
    (5, 'chart of the coast', 1899);
