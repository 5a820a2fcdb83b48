//! Orders: written in one transaction, read back as written.

use serde::{Deserialize, Serialize};
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::{Store, StoreError, with_either};

/// What a client orders.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    pub(crate) customer: String,
    pub(crate) lines: Vec<Line>,
}

/// So many of one product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) product: i64,
    pub(crate) quantity: i64,
}

/// An order as it was written down.
#[derive(Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) customer: String,
    pub(crate) lines: Vec<PricedLine>,
    pub(crate) total_cents: i64,
    /// What payments answered, once it is paid.
    pub(crate) receipt: Option<String>,
}

/// A line with the price of one piece when it was ordered.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct PricedLine {
    #[sqlx(rename = "product_id")]
    product: i64,
    quantity: i64,
    price_cents: i64,
}

/// Why an order was not written.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// There is no product with this id.
    UnknownProduct(i64),
    /// The sum does not fit.
    TooMuch,
    Database(StoreError),
}

/// What ends a transaction.
enum Fault {
    Order(CreateError),
    Database(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Database(error)
    }
}

/// One transaction, whichever the database. `BEGIN IMMEDIATE` because a SQLite transaction
/// that reads first and writes later fails at once, without waiting, when another one
/// wrote in between.
macro_rules! in_transaction {
    ($store:expr, $transaction:ident => $code:expr) => {
        match $store {
            Store::Sqlite(db) => {
                let mut $transaction = db.begin_with("BEGIN IMMEDIATE").await?;
                let made = $code;
                $transaction.commit().await?;
                made
            }
            Store::Postgres(db) => {
                let mut $transaction = db.begin().await?;
                let made = $code;
                $transaction.commit().await?;
                made
            }
        }
    };
}

const INSERT_ORDER: &str = "insert into orders (id, customer, total_cents) values ($1, $2, $3)";

const INSERT_LINE: &str =
    "insert into order_lines (order_id, product_id, quantity, price_cents) values ($1, $2, $3, $4)";

impl Store {
    /// Writes an order at today's prices. It must not be cancelled: see [`crate::writes`].
    pub(crate) async fn create(&self, new: NewOrder) -> Result<Order, CreateError> {
        self.insert(new).await.map_err(|fault| match fault {
            Fault::Order(error) => error,
            Fault::Database(error) => CreateError::Database(error),
        })
    }

    async fn insert(&self, new: NewOrder) -> Result<Order, Fault> {
        // Version 7 sorts by time, so the newest orders lie together in the index.
        let id = Uuid::now_v7();
        let (total_cents, lines) = in_transaction!(self, transaction => {
            let mut lines = Vec::with_capacity(new.lines.len());
            for line in &new.lines {
                let price = sqlx::query("select price_cents from products where id = $1")
                    .bind(line.product);
                let price = (&mut *transaction).fetch_optional(price).await?;
                let price = price.ok_or(Fault::Order(CreateError::UnknownProduct(line.product)))?;
                lines.push(PricedLine {
                    product: line.product,
                    quantity: line.quantity,
                    price_cents: price.try_get(0)?,
                });
            }
            let total = total(&lines).ok_or(Fault::Order(CreateError::TooMuch))?;
            let order = sqlx::query(INSERT_ORDER).bind(id.to_string()).bind(&new.customer).bind(total);
            order.execute(&mut *transaction).await?;
            for line in &lines {
                let insert = sqlx::query(INSERT_LINE).bind(id.to_string());
                let insert = insert.bind(line.product).bind(line.quantity).bind(line.price_cents);
                insert.execute(&mut *transaction).await?;
            }
            (total, lines)
        });
        Ok(Order {
            id,
            customer: new.customer,
            lines,
            total_cents,
            receipt: None,
        })
    }

    pub(crate) async fn order(&self, id: Uuid) -> Result<Option<Order>, StoreError> {
        let order = "select customer, total_cents, receipt from orders where id = $1";
        let lines = "select product_id, quantity, price_cents from order_lines \
                     where order_id = $1 order by product_id";
        let text = id.to_string();
        let (found, lines) = with_either!(Store, self, db => {
            let mut connection = db.acquire().await?;
            let found = sqlx::query_as(order).bind(&text);
            let found: Option<(String, i64, Option<String>)> =
                found.fetch_optional(&mut *connection).await?;
            let lines = sqlx::query_as(lines).bind(&text);
            (found, lines.fetch_all(&mut *connection).await?)
        });
        let Some((customer, total_cents, receipt)) = found else {
            return Ok(None);
        };
        Ok(Some(Order {
            id,
            customer,
            lines,
            total_cents,
            receipt,
        }))
    }

    /// Writes down that an order is paid. A second receipt changes nothing.
    pub(crate) async fn paid(&self, id: Uuid, receipt: &str) -> Result<(), StoreError> {
        let update = "update orders set receipt = $2 where id = $1 and receipt is null";
        with_either!(Store, self, db => {
            let update = sqlx::query(update).bind(id.to_string()).bind(receipt);
            update.execute(db.writes()).await?;
            Ok(())
        })
    }
}

/// The sum in cents; `None` if it is more than an `i64` holds.
fn total(lines: &[PricedLine]) -> Option<i64> {
    lines.iter().try_fold(0_i64, |sum, line| {
        sum.checked_add(line.price_cents.checked_mul(line.quantity)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_does_not_fit_is_no_sum() {
        let line = |quantity, price_cents| PricedLine {
            product: 1,
            quantity,
            price_cents,
        };
        assert_eq!(total(&[line(2, 2490), line(1, 10)]), Some(4990));
        assert_eq!(total(&[line(i64::MAX, 2)]), None);
        assert_eq!(total(&[line(1, i64::MAX), line(1, 1)]), None);
    }
}
