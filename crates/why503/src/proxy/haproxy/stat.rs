//! HAProxy's `show stat` and `show info`, as its runtime socket answers.

use std::collections::HashMap;

/// Most rows that are kept; a fleet's balancer has a few hundred servers.
const ROWS_MAX: usize = 4096;

/// What a row is about (the field `type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKind {
    Frontend,
    Backend,
    Server,
    Listener,
}

/// One row of `show stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) kind: RowKind,
    /// The section it belongs to.
    pub(crate) proxy: String,
    /// The server's name, or `FRONTEND` or `BACKEND`.
    pub(crate) service: String,
    fields: HashMap<String, String>,
}

impl Row {
    /// A field as it stands; empty if this row has none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// A field as a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    /// The server's own words for its last check, as far as it has any.
    pub(crate) fn check(&self) -> String {
        let status = self.text("check_status").trim_start_matches("* ");
        let said = match self.text("last_chk") {
            "" => self.text("check_desc"),
            last => last,
        };
        let code = self.text("check_code");
        let code = if code.is_empty() {
            String::new()
        } else {
            format!(" {code}")
        };
        match (status, said) {
            ("", "") => String::new(),
            (status, "") => format!("{status}{code}"),
            (status, said) => format!("{status}{code}, {said}"),
        }
    }
}

/// Reads the answer to `show stat`.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    let head = lines
        .find(|line| line.starts_with("# "))
        .unwrap_or_default();
    let names = cells(head.trim_start_matches("# "));
    let row = |line: &str| {
        let pairs = names.iter().cloned().zip(cells(line));
        let mut fields: HashMap<String, String> = pairs.collect();
        let kind = match fields.get("type")?.as_str() {
            "0" => RowKind::Frontend,
            "1" => RowKind::Backend,
            "2" => RowKind::Server,
            "3" => RowKind::Listener,
            _ => return None,
        };
        Some(Row {
            kind,
            proxy: fields.remove("pxname")?,
            service: fields.remove("svname")?,
            fields,
        })
    };
    lines.filter_map(row).take(ROWS_MAX).collect()
}

/// Reads the answer to `show info`: `Name: value` lines.
pub(crate) fn info(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

/// The cells of a line of CSV; in quotes, where `""` is one, if they have to be.
fn cells(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    all.push(cell);
    all
}

/// One backend and its servers.
#[derive(Debug)]
pub(crate) struct Backend<'a> {
    pub(crate) row: &'a Row,
    pub(crate) servers: Vec<&'a Row>,
}

/// The backends among the rows, those of `listen` sections too.
pub(crate) fn backends(rows: &[Row]) -> Vec<Backend<'_>> {
    let own = rows.iter().filter(|row| row.kind == RowKind::Backend);
    own.map(|row| Backend {
        row,
        servers: rows
            .iter()
            .filter(|it| it.kind == RowKind::Server && it.proxy == row.proxy)
            .collect(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "# pxname,svname,qcur,scur,slim,status,act,bck,type,check_status,check_code,last_chk,econ,";

    fn table(lines: &str) -> Vec<Row> {
        rows(&format!("{HEAD}\n{lines}\n\n"))
    }

    #[test]
    fn a_backend_has_its_own_servers_and_no_others() {
        let rows = table(
            "api,b1,0,0,,UP,1,0,2,,,,0,\napp,a1,0,0,,DOWN,1,0,2,,,,0,\napp,BACKEND,0,0,10,UP,0,0,1,,,,0,\n\
             empty,BACKEND,0,0,10,UP,0,0,1,,,,0,",
        );
        let found: Vec<_> = backends(&rows)
            .iter()
            .map(|it| (it.row.proxy.clone(), it.servers.len()))
            .collect();
        assert_eq!(found, [("app".to_owned(), 1), ("empty".to_owned(), 0)]);
    }

    #[test]
    fn quoted_cells_keep_their_commas() {
        let rows = table("app,a1,0,0,,DOWN,1,0,2,L7STS,503,\"status \"\"503\"\", sick\",0,");
        assert_eq!(rows[0].check(), "L7STS 503, status \"503\", sick");
        assert_eq!(rows[0].number("econ"), Some(0));
    }

    #[test]
    fn nonsense_is_no_row() {
        assert!(rows("Unknown command\n").is_empty());
        assert!(rows("").is_empty());
        assert!(table("a,b\n,,,,").is_empty());
    }

    #[test]
    fn info_is_read() {
        let found = info("Name: HAProxy\nMaxconn: 100\nUptime: 0d 0h00m02s\n");
        assert_eq!(found["Maxconn"], "100");
        assert_eq!(found["Uptime"], "0d 0h00m02s");
    }
}
