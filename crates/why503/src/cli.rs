//! The command line: what is asked, and the exit code that answers a script.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use crate::{doctor, exit, knowledge, logs, target::Target};

/// Probes of a run that says nothing about it.
const PROBES: u8 = 5;

/// More would be a load test.
const PROBES_MAX: i64 = 50;

/// Find the cause of a 503 Service Unavailable, on any web server.
///
/// Reads only, asks the service at most -n times, and ends within 15 seconds even when everything
/// hangs. As an ordinary user it sees less, and says what.
#[derive(Debug, Parser)]
#[command(
    name = "why503",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 no 503 and nothing found; 10 a 503, its cause proven; 11 a 503 with \
                  suspects; 12 a 503, cause unknown; 13 no 503 now, but a finding; 20 unreachable \
                  or not HTTP; 64 wrong usage."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// What else it can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Attribute the 503s (and 502s and 504s) of log files to their causes
    Logs(LogsArgs),
    /// Print a row of the knowledge base: what it looks like, why, and the fix
    Explain {
        /// A finding, such as `pg.exhausted`
        id: String,
    },
    /// Print the whole knowledge base as one page
    Runbook,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// What the doctor is told beside the target; collectors read theirs here.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The service: `http://host:port/path`, `host:port`, `:8000` or `unix:/run/app.sock`; without
    /// it, every listening HTTP service of this host
    #[arg(value_name = "URL", value_parser = Target::parse)]
    pub(crate) target: Option<Target>,

    /// Ask the service at most this often
    #[arg(short = 'n', long, default_value_t = PROBES, value_parser = clap::value_parser!(u8).range(1..=PROBES_MAX))]
    pub(crate) probes: u8,

    /// End after this many seconds
    #[arg(long, default_value = "15", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) budget: Duration,

    /// Speak this version of HTTP
    #[arg(long, value_enum, default_value_t = HttpVersion::Auto)]
    pub(crate) http: HttpVersion,

    /// Send this header too, such as `Host: shop.example` (may be repeated)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,

    /// The process that serves, if it cannot be found by its socket
    #[arg(long, value_name = "PID", help_heading = "The process")]
    pub(crate) pid: Option<u32>,

    /// The systemd unit that serves
    #[arg(
        long,
        value_name = "UNIT",
        conflicts_with = "pid",
        help_heading = "The process"
    )]
    pub(crate) unit: Option<String>,

    /// The port at which the application itself listens, behind the proxy that the URL names
    #[arg(long, value_name = "PORT", help_heading = "The process")]
    pub(crate) port: Option<u16>,

    /// The token of the library's operator page
    #[arg(
        long,
        value_name = "TOKEN",
        env = "WHY503_TOKEN",
        hide_env_values = true,
        help_heading = "A service with Steadfast"
    )]
    pub(crate) token: Option<String>,

    /// Where the library's probe listener is, if it has one
    #[arg(long, value_name = "URL", value_parser = Target::parse, help_heading = "A service with Steadfast")]
    pub(crate) probe_listener: Option<Target>,

    /// Explain one refusal by its id, request id or trace id
    #[arg(long, value_name = "ID", help_heading = "A service with Steadfast")]
    pub(crate) explain: Option<String>,

    /// PostgreSQL, or PgBouncer, that the service uses: `postgres://user:password@host/db`; without
    /// a URL, what `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` and `PGDATABASE` say, as for psql
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        default_missing_value = "",
        env = "WHY503_PG",
        hide_env_values = true,
        help_heading = "What stands behind"
    )]
    pub(crate) pg: Option<String>,

    /// PgBouncer's administration: `postgres://user:password@host:6432/pgbouncer`
    #[arg(
        long,
        value_name = "URL",
        env = "WHY503_PGBOUNCER",
        hide_env_values = true,
        help_heading = "What stands behind"
    )]
    pub(crate) pgbouncer: Option<String>,

    /// MySQL or MariaDB: `mysql://user:password@host/db`
    #[arg(
        long,
        value_name = "URL",
        env = "WHY503_MYSQL",
        hide_env_values = true,
        help_heading = "What stands behind"
    )]
    pub(crate) mysql: Option<String>,

    /// Redis or Valkey: `redis://user:password@host:6379/0`
    #[arg(
        long,
        value_name = "URL",
        env = "WHY503_REDIS",
        hide_env_values = true,
        help_heading = "What stands behind"
    )]
    pub(crate) redis: Option<String>,

    /// memcached: `host:port`
    #[arg(long, value_name = "HOST:PORT", help_heading = "What stands behind")]
    pub(crate) memcached: Option<String>,

    /// RabbitMQ: `host:port`
    #[arg(long, value_name = "HOST:PORT", help_heading = "What stands behind")]
    pub(crate) amqp: Option<String>,

    /// Kafka: `host:port`
    #[arg(long, value_name = "HOST:PORT", help_heading = "What stands behind")]
    pub(crate) kafka: Option<String>,

    /// An HTTP service that the service calls (may be repeated)
    #[arg(long, value_name = "URL", value_parser = Target::parse, help_heading = "What stands behind")]
    pub(crate) upstream: Vec<Target>,

    /// HAProxy's runtime socket
    #[arg(long, value_name = "PATH", help_heading = "What stands in front")]
    pub(crate) haproxy_socket: Option<PathBuf>,

    /// HAProxy's configuration
    #[arg(long, value_name = "PATH", help_heading = "What stands in front")]
    pub(crate) haproxy_config: Option<PathBuf>,

    /// nginx's main configuration, if it is not the packaged one
    #[arg(long, value_name = "PATH", help_heading = "What stands in front")]
    pub(crate) nginx_config: Option<PathBuf>,

    /// nginx's error log
    #[arg(long, value_name = "PATH", help_heading = "What stands in front")]
    pub(crate) nginx_error_log: Option<PathBuf>,

    /// An access log of whatever stands in front, in any format that `why503 logs` reads
    #[arg(long, value_name = "PATH", help_heading = "What stands in front")]
    pub(crate) access_log: Vec<PathBuf>,

    /// Envoy's administration: `http://127.0.0.1:9901`
    #[arg(long, value_name = "URL", value_parser = Target::parse, help_heading = "What stands in front")]
    pub(crate) envoy_admin: Option<Target>,

    /// Traefik's API: `http://127.0.0.1:8080`
    #[arg(long, value_name = "URL", value_parser = Target::parse, help_heading = "What stands in front")]
    pub(crate) traefik_api: Option<Target>,

    /// Caddy's administration: `http://127.0.0.1:2019`
    #[arg(long, value_name = "URL", value_parser = Target::parse, help_heading = "What stands in front")]
    pub(crate) caddy_admin: Option<Target>,

    /// Apache's status page: `http://127.0.0.1/server-status`
    #[arg(long, value_name = "URL", value_parser = Target::parse, help_heading = "What stands in front")]
    pub(crate) apache_status: Option<Target>,

    /// Ask the cluster too: a workload as `namespace/service`, through the kubeconfig or the pod's own account
    #[arg(
        long,
        value_name = "NAMESPACE/SERVICE",
        help_heading = "What stands in front"
    )]
    pub(crate) kube: Option<String>,

    /// Count what logs and the kernel said since then as of now: `15m`, or `2026-11-29T08:35`
    #[arg(long, value_name = "TIME", value_parser = logs::moment, help_heading = "What stands in front")]
    pub(crate) since: Option<i64>,

    /// Hold an idle connection to what stands behind the proxy until it is closed, or the time is
    /// over, and compare with the proxy's own
    #[arg(long, help_heading = "What stands in front")]
    pub(crate) keep_alive: bool,

    /// Print one JSON document (`"schema":"why503/1"`) instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// When to colour
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", help_heading = "Output")]
    pub(crate) color: Colour,

    /// Exit 0 whatever was found; 20 and 64 stay
    #[arg(long, help_heading = "Output")]
    pub(crate) exit_zero: bool,

    /// Stay, ask once a second, and explain the next 503 when it comes
    #[arg(long, help_heading = "Output")]
    pub(crate) watch: bool,

    /// Write what was collected to a file, redacted, to be diagnosed elsewhere
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "watch",
        help_heading = "Output"
    )]
    pub(crate) bundle: Option<PathBuf>,

    /// Diagnose what `--bundle` wrote, without asking anybody
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "watch", "target"], help_heading = "Output")]
    pub(crate) offline: Option<PathBuf>,
}

/// Which version of HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HttpVersion {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    #[value(name = "1")]
    One,
    /// HTTP/2, without TLS by prior knowledge.
    #[value(name = "2")]
    Two,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What `why503 logs` is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// Log files, plain or gzip; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Read every line as this format instead of finding it
    #[arg(long, value_enum, default_value_t = logs::Format::Auto)]
    pub(crate) format: logs::Format,

    /// Leave out what is older: `2026-11-29T08:35`, or `15m` for a quarter of an hour ago
    #[arg(long, value_name = "TIME", value_parser = logs::moment)]
    pub(crate) since: Option<i64>,

    /// Leave out what is newer
    #[arg(long, value_name = "TIME", value_parser = logs::moment)]
    pub(crate) until: Option<i64>,

    /// Unpack at most this much of a gzip file, instead of stopping where it packs too well
    #[arg(long, value_name = "SIZE", value_parser = logs::size)]
    pub(crate) unpacked_max: Option<u64>,

    /// Print one JSON document (`"schema":"why503-logs/1"`) instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads the command line, does what it says, and answers with the exit code.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done for a reader that has gone.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(exit::USAGE),
            };
        }
    };
    match cli.command {
        Some(Command::Logs(args)) => logs::run(&args),
        Some(Command::Explain { id }) => knowledge::explain(&id),
        Some(Command::Runbook) => knowledge::runbook(),
        Some(Command::Completions { shell }) => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "why503", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Some(Command::Man) => man(),
        None => doctor::run(&cli.options.settled()),
    }
}

impl Options {
    /// An option whose value may be left out takes what stands behind it, the service too.
    fn settled(mut self) -> Self {
        let is_service = |it: &&String| it.starts_with("http://") || it.starts_with("https://");
        if self.target.is_none()
            && let Some(text) = self.pg.as_ref().filter(is_service)
            && let Ok(target) = Target::parse(text)
        {
            self.target = Some(target);
            self.pg = Some(String::new());
        }
        self
    }
}

fn man() -> ExitCode {
    let page = clap_mangen::Man::new(Cli::command());
    match page.render(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Seconds between one and the most that a run may take.
fn seconds(text: &str) -> Result<Duration, String> {
    let allowed = 1.0..=BUDGET_MAX.as_secs_f64();
    let seconds = text.parse().ok().filter(|it| allowed.contains(it));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        format!(
            "`{text}` is no time; from 1 to {} seconds are",
            allowed.end()
        )
    })
}

fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let wrong = || "a header is written `Name: value`".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong())?;
    let mut value: http::HeaderValue = value.trim().parse().map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// A person waits this long and no longer.
const BUDGET_MAX: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_url_of_postgresql_may_be_left_out() {
        let pg = |arguments: &[&str]| {
            let cli = Cli::try_parse_from(arguments).expect("it is right");
            let options = cli.options.settled();
            (options.target.map(|it| it.to_string()), options.pg)
        };
        let shop = Some("http://shop/".to_owned());
        let given = Some("postgres://db/x".to_owned());
        for (arguments, expected) in [
            (
                &["why503", "http://shop/", "--pg"][..],
                (shop.clone(), Some(String::new())),
            ),
            (
                &["why503", "--pg", "http://shop/"],
                (shop.clone(), Some(String::new())),
            ),
            (
                &["why503", "--pg", "postgres://db/x", "http://shop/"],
                (shop.clone(), given),
            ),
        ] {
            assert_eq!(pg(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn wrong_usage_exits_64() {
        for wrong in [
            &["why503", "ftp://a"][..],
            &["why503", "--nonsense"],
            &["why503", "-n", "0", "http://a"],
            &["why503", "-n", "51", "http://a"],
            &["why503", "--budget", "16", "http://a"],
            &["why503", "--header", "x", "http://a"],
            &["why503", "--offline", "x", "http://a"],
            &["why503", "logs"],
        ] {
            let code = run(wrong.iter().map(OsString::from));
            assert_eq!(code, ExitCode::from(exit::USAGE), "{wrong:?}");
        }
    }
}
