//! Other proxies beside ours: HAProxy and nginx as a Debian machine has them, and anything with Toxiproxy's API.
//!
//! ```text
//!  found in PATH ──▶ tried once (or left out, saying why) ──▶ started for a line, with a configuration for it
//! ```
//! `contestant` asks for a process; `lab` finds out at the start who is here. Each gets the configuration that it does
//! best with: as many workers as there are processors, no log, and nginx a buffer of 64 KiB in place of its 16.
//!
//! Invariant: only loopback addresses, with ports that were free a moment before; nothing is written but a directory
//! of its own, which goes with the process.

use crate::{
    contestant::{Course, Tls},
    encrypted::Certificates,
    error::{BenchError, Tried},
    machine,
    process::{Process, Stop},
};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Where Debian and others keep programs that a user's PATH may not have.
const ALSO: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Where nginx's dynamic modules may be.
const NGINX_MODULES: [&str; 3] = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules"];

/// Starts that are tried, for a port that was free a moment ago may be taken by now.
const ATTEMPTS: usize = 3;

/// Finds a program.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(ALSO.into_iter().map(PathBuf::from));
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// A peer that runs.
pub(crate) struct Peer {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Where it tells that it is ready: its API, if it has one.
    pub(crate) ready: SocketAddr,
    /// It.
    pub(crate) process: Process,
    // Its configuration, kept for as long as it runs.
    _directory: TempDir,
}

/// HAProxy in `mode tcp` before this upstream.
pub(crate) fn haproxy(program: &Path, splice: bool, upstream: SocketAddr, tls: Tls<'_>) -> Result<Peer, BenchError> {
    // A connection has two descriptors, and two more where HAProxy gives it a pipe; what it needs itself is left.
    let descriptors = if splice { 4 } else { 2 };
    let connections = machine::file_limit().saturating_sub(200) / descriptors;
    let splice = if splice { "  option splice-auto\n" } else { "" };
    let (bind, server) = match tls {
        Tls::Passed => (String::new(), String::new()),
        Tls::Ended(files) => (format!(" ssl crt {}", files.cert_and_key()), String::new()),
        Tls::Started(files) => {
            let name = Certificates::NAME;
            (String::new(), format!(" ssl verify required ca-file {} sni str({name}) verifyhost {name}", files.ca()))
        }
    };
    configured("haproxy", |directory, [clients, ready]| {
        let text = format!(
            "global\n  maxconn {connections}\n\
             defaults\n  mode tcp\n{splice}  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n\
             listen bench\n  bind {clients} backlog 1024{bind}\n  server upstream {upstream}{server}\n\
             frontend ready\n  mode http\n  bind {ready}\n  http-request return status 200\n"
        );
        let file = written(directory, "haproxy.cfg", &text)?;
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    })
}

/// nginx's stream module before this upstream.
pub(crate) fn nginx(program: &Path, upstream: SocketAddr, course: Course<'_>) -> Result<Peer, BenchError> {
    let workers = std::thread::available_parallelism().tried("count the cores")?;
    let files = machine::file_limit();
    let module = NGINX_MODULES.iter().map(|place| Path::new(place).join("ngx_stream_module.so"));
    let module = module.into_iter().find(|module| module.is_file());
    let load = module.map_or_else(String::new, |module| format!("load_module {};\n", module.display()));
    // With several workers, one socket each, so that a client's datagrams go to one of them.
    let mut listen = if course.protocol.has_connections() { "backlog=1024" } else { "udp reuseport" }.to_owned();
    let mut rest = String::new();
    match course.tls {
        Tls::Passed => {}
        Tls::Ended(files) => {
            listen.push_str(" ssl");
            rest = format!(
                "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
                files.cert(),
                files.key()
            );
        }
        Tls::Started(files) => {
            rest = format!(
                "proxy_ssl on; proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_verify on; proxy_ssl_server_name on; \
                 proxy_ssl_name {}; proxy_ssl_trusted_certificate {};",
                Certificates::NAME,
                files.ca()
            );
        }
    }
    configured("nginx", |directory, [clients, ready]| {
        let home = directory.display();
        let text = format!(
            "{load}daemon off;\nworker_processes {workers};\nworker_rlimit_nofile {files};\n\
             pid {home}/nginx.pid;\nerror_log {home}/error.log crit;\n\
             events {{ worker_connections {files}; }}\n\
             stream {{\n  access_log off;\n  proxy_buffer_size 64k;\n\
             server {{ listen {clients} {listen}; proxy_pass {upstream}; {rest} }}\n\
             server {{ listen {ready}; return ok; }}\n}}\n"
        );
        let file = written(directory, "nginx.conf", &text)?;
        let mut command = Command::new(program);
        command.arg("-p").arg(directory).arg("-e").arg(directory.join("error.log")).arg("-c").arg(file);
        Ok(command)
    })
}

/// nginx as a web server that answers two bytes.
pub(crate) fn nginx_http(program: &Path) -> Result<Peer, BenchError> {
    let files = machine::file_limit();
    configured("nginx", |directory, [clients, ready]| {
        let home = directory.display();
        let text = format!(
            "daemon off;\nworker_processes 1;\nworker_rlimit_nofile {files};\n\
             pid {home}/nginx.pid;\nerror_log {home}/error.log crit;\n\
             events {{ worker_connections {files}; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 100000000;\n\
             client_body_temp_path {home}/body;\n  proxy_temp_path {home}/proxy;\n  fastcgi_temp_path {home}/fastcgi;\n\
             uwsgi_temp_path {home}/uwsgi;\n  scgi_temp_path {home}/scgi;\n\
             server {{ listen {clients} backlog=1024; listen {ready}; return 200 ok; }}\n}}\n"
        );
        let file = written(directory, "nginx.conf", &text)?;
        let mut command = Command::new(program);
        command.arg("-p").arg(directory).arg("-e").arg(directory.join("error.log")).arg("-c").arg(file);
        Ok(command)
    })
}

/// A server with Toxiproxy's API, which is where it is ready; there are no ways through it yet.
pub(crate) fn toxiproxy(program: &Path) -> Result<Peer, BenchError> {
    configured("toxiproxy", |_, [_, api]| {
        let mut command = Command::new(program);
        command.arg(format!("--host={}", api.ip())).arg(format!("--port={}", api.port()));
        Ok(command)
    })
}

/// Starts what `command` makes of a directory, an address for clients and one that tells when it is ready.
fn configured(
    who: &'static str,
    command: impl Fn(&Path, [SocketAddr; 2]) -> Result<Command, BenchError>,
) -> Result<Peer, BenchError> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let directory = tempfile::tempdir().tried("make a directory for a configuration")?;
        let addresses = free()?;
        let mut command = command(directory.path(), addresses)?;
        let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()), Stop::Signal)?;
        match process.until(who, || TcpStream::connect(addresses[1]).is_ok()) {
            Ok(()) => return Ok(Peer { address: addresses[0], ready: addresses[1], process, _directory: directory }),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| BenchError::Missing(format!("an attempt to start {who}"))))
}

fn written(directory: &Path, name: &str, text: &str) -> Result<PathBuf, BenchError> {
    let file = directory.join(name);
    std::fs::write(&file, text).tried(&format!("write {}", file.display()))?;
    Ok(file)
}

/// Two addresses that nobody listens on.
fn free() -> Result<[SocketAddr; 2], BenchError> {
    let bind = || TcpListener::bind("127.0.0.1:0").tried("bind a loopback port");
    // Both are held until both are known, so that they differ.
    let held = [bind()?, bind()?];
    let address = |one: &TcpListener| one.local_addr().tried("ask for the port that was bound");
    Ok([address(&held[0])?, address(&held[1])?])
}
