//! Servers that more than one situation uses, none of which harms them.

use support::{Postgres, Redis};
use tokio::sync::OnceCell;

use crate::stack::blocking;

/// Each is started when it is first wanted.
#[derive(Default)]
pub(super) struct Places {
    postgres: OnceCell<Postgres>,
    redis: OnceCell<Redis>,
}

impl Places {
    /// A PostgreSQL with room for everybody.
    pub(super) async fn postgres(&self) -> &Postgres {
        let start = || Postgres::builder().max_connections(200).start();
        self.postgres
            .get_or_init(|| async { blocking(start) })
            .await
    }

    /// A Redis with room for everybody.
    pub(super) async fn redis(&self) -> &Redis {
        let start = || Redis::builder().start();
        self.redis.get_or_init(|| async { blocking(start) }).await
    }
}
