//! Apache httpd and Varnish.

use crate::front::{Front, front};

front! {
    /// An Apache httpd of its own.
    Apache
}

front! {
    /// A Varnish of its own.
    Varnish
}

/// What a proxy of HTTP with a status page needs, in the order in which it has to be loaded.
const MODULES: [&str; 11] = [
    "mpm_event",
    "authz_core",
    "authz_host",
    "alias",
    "rewrite",
    "status",
    "proxy",
    "proxy_http",
    "slotmem_shm",
    "lbmethod_byrequests",
    "proxy_balancer",
];

impl Apache {
    /// Starts it with a configuration that listens at `port`; modules, log and the status page for
    /// the host itself (`/server-status`) are there already.
    ///
    /// # Panics
    /// If Apache is not installed or does not come up.
    #[must_use]
    pub fn start(port: u16, config: &str) -> Self {
        let modules: String = MODULES
            .iter()
            .map(|name| {
                format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
            })
            .collect();
        let config = format!(
            "ServerRoot {{dir}}\nServerName localhost\nPidFile {{dir}}/pid\nErrorLog {{dir}}/error.log\n\
             Listen 127.0.0.1:{port}\n{modules}ExtendedStatus On\nProxyStatus On\n\
             <Location /server-status>\nSetHandler server-status\nRequire local\n</Location>\n\
             ProxyPass /server-status !\n{config}\n"
        );
        let file = ("httpd.conf", config.as_str());
        Self(Front::start(
            "apache2",
            "apache2",
            file,
            port,
            |command, file| {
                command.arg("-DFOREGROUND").arg("-f").arg(file);
                command.arg("-d").args(file.parent());
            },
        ))
    }

    /// Returns its error log.
    #[must_use]
    pub fn error_log(&self) -> String {
        self.read("error.log")
    }
}

impl Varnish {
    /// Starts it with a VCL at `port`.
    ///
    /// # Panics
    /// If Varnish is not installed or does not come up.
    #[must_use]
    pub fn start(port: u16, vcl: &str) -> Self {
        let file = ("default.vcl", vcl);
        Self(Front::start(
            "varnishd",
            "varnish",
            file,
            port,
            |command, file| {
                let dir = file.parent().expect("it lies in a directory");
                command
                    .args(["-j", "none", "-F", "-s", "malloc,16M", "-n"])
                    .arg(dir.join("run"));
                command.arg("-a").arg(format!("127.0.0.1:{port}"));
                command.arg("-f").arg(file);
            },
        ))
    }
}
