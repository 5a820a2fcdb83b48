//! What a server says of its replication, asked apart: a version that words it in another way
//! costs these facts, and none of the others.

use std::time::Duration;

use steadfast_diagnosis::Postgres;

use super::state::Rows;
use crate::{
    collect::Collected,
    dependency::{address::Address, ask::tied},
};

/// Names and values, in a transaction that may only read and ends itself.
pub(super) const QUESTION: &str = "BEGIN READ ONLY; \
SET LOCAL statement_timeout = '1500ms'; \
SELECT 'recovery', pg_catalog.pg_is_in_recovery()::text \
UNION ALL SELECT 'wanted', setting FROM pg_catalog.pg_settings WHERE name = 'synchronous_standby_names' \
UNION ALL SELECT 'waiting', count(*)::text FROM pg_catalog.pg_stat_activity WHERE wait_event = 'SyncRep' \
UNION ALL SELECT 'longest', max(extract(epoch FROM clock_timestamp() - coalesce(query_start, state_change)))::bigint::text \
FROM pg_catalog.pg_stat_activity WHERE wait_event = 'SyncRep' \
UNION ALL SELECT 'connected', count(*)::text FROM pg_catalog.pg_stat_replication \
UNION ALL SELECT 'synchronous', count(*)::text FROM pg_catalog.pg_stat_replication WHERE sync_state IN ('sync', 'quorum') \
UNION ALL SELECT 'behind', max(extract(epoch FROM replay_lag))::bigint::text FROM pg_catalog.pg_stat_replication \
UNION ALL SELECT 'replayed', extract(epoch FROM clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::bigint::text \
UNION ALL SELECT 'caught_up', (pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn())::text \
UNION ALL SELECT 'receiver', (SELECT status FROM pg_catalog.pg_stat_wal_receiver LIMIT 1); \
COMMIT";

/// Writes it down.
pub(super) fn write(seen: &mut Collected, address: &Address, rows: &Rows) {
    let value = |name: &str| {
        let row = rows
            .iter()
            .find(|row| row.first().and_then(Option::as_deref) == Some(name));
        row.and_then(|row| row.get(1)?.as_deref()).unwrap_or("")
    };
    let number = |name: &str| value(name).parse::<u64>().unwrap_or(0);
    let fact = match value("recovery") {
        "true" => {
            let receives = value("receiver") == "streaming";
            // A master that does nothing sends nothing: who has all of it is not behind.
            let all = receives && value("caught_up") == "true";
            let behind = if all { 0 } else { number("replayed") };
            Postgres::Standby {
                behind: Duration::from_secs(behind),
                receives,
            }
        }
        "false" => Postgres::Standbys {
            connected: number("connected"),
            synchronous: number("synchronous"),
            wanted: value("wanted").into(),
            behind: Duration::from_secs(number("behind")),
            waiting: number("waiting"),
            longest: Duration::from_secs(number("longest")),
        },
        _ => return,
    };
    let source = format!("{address}, {}", fact.field());
    seen.saw(&source, tied(address), fact);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::address::Kind;

    fn told(pairs: &[(&str, Option<&str>)]) -> Vec<String> {
        let row = |(name, value): &(&str, Option<&str>)| {
            vec![Some((*name).to_owned()), value.map(str::to_owned)]
        };
        let rows: Rows = pairs.iter().map(row).collect();
        let mut seen = Collected::new();
        write(&mut seen, &Address::bare(Kind::Postgres, "db", 5432), &rows);
        seen.facts().iter().map(|it| it.seen.to_string()).collect()
    }

    #[test]
    fn a_standby_that_has_all_of_it_is_not_behind() {
        let standby = |caught_up, receiver| {
            told(&[
                ("recovery", Some("true")),
                ("replayed", Some("3600")),
                ("caught_up", caught_up),
                ("receiver", receiver),
            ])
        };
        let all = standby(Some("true"), Some("streaming"));
        assert_eq!(all, ["0.0 ms behind, receives"]);
        let cut = standby(Some("true"), None);
        let hour = steadfast_diagnosis::Lasting(Duration::from_secs(3600));
        assert_eq!(cut, [format!("{hour} behind, receives nothing")]);
        assert!(told(&[]).is_empty());
    }
}
