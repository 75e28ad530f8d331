//! nginx as endpoints have it: in front of a service, enforcing who may come in.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::pki::Pki;
use crate::process::Process;
use crate::sender::free_port;

/// A running nginx with a folder, a configuration and ports of its own.
pub struct Nginx {
    /// Its process.
    pub process: Process,
    ports: Vec<u16>,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with these files beside its configuration, and one `server` over TLS for each text. `@port@` in a
    /// text becomes the server's port.
    ///
    /// # Panics
    /// If nginx is not there or does not start: these tests are not skipped.
    #[expect(clippy::disallowed_methods, reason = "another process tells nobody when it listens")]
    pub fn start(pki: &Pki, files: &[(&str, String)], servers: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = pki.server();
        for (name, content) in files
            .iter()
            .map(|(name, content)| (*name, content))
            .chain([("server.pem", &server.cert), ("server.key", &server.key)])
        {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let at = folder.path().display();
        let ports: Vec<_> = servers.iter().map(|_| free_port()).collect();
        let servers: String = servers
            .iter()
            .zip(&ports)
            .map(|(server, port)| {
                let server = server.replace("@port@", &port.to_string()).replace("@folder@", &at.to_string());
                format!(
                    "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/server.pem; \
                     ssl_certificate_key {at}/server.key; {server} }}\n"
                )
            })
            .collect();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log stderr info;\n\
             events {{ worker_connections 64; }}\nhttp {{ access_log off;\n{temporary}{servers}}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
            .expect("nginx is not installed: apt-get install nginx-light, or run ./tests/run");
        let mut process = Process::start(
            "nginx",
            Command::new(program).arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]),
        );
        for port in &ports {
            let mut tries = 0;
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                tries += 1;
                assert!(
                    process.ended().is_none() && tries < 400,
                    "nginx does not listen:\n{}",
                    process.log()
                );
                std::thread::sleep(Duration::from_millis(25));
            }
        }
        Self { process, ports, _folder: folder }
    }

    /// Where the n-th server receives.
    pub fn url(&self, server: usize) -> String {
        format!("https://127.0.0.1:{}/hooks", self.ports[server])
    }
}
