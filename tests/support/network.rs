//! Network namespaces, so that each server has a host of its own whose packets can be lost.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cli::foreign;

/// Where a server runs.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) address: Ipv4Addr,
    /// The network namespace; `None` for that of the test itself.
    pub(crate) namespace: Option<String>,
    /// The server's data lie in a memory file system that holds this many bytes.
    pub(crate) disk_bytes: Option<u64>,
}

impl Default for Host {
    fn default() -> Self {
        Self { address: Ipv4Addr::LOCALHOST, namespace: None, disk_bytes: None }
    }
}

impl Host {
    /// A command that runs `program` there. It becomes that program, so its process id is the program's.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program);
        command
    }
}

/// `GET` from within a namespace, for doors on its loopback.
pub(crate) async fn get_within(namespace: &str, address: &str, path: &str) -> Result<(u16, String), String> {
    let (host, port) = address.rsplit_once(':').unwrap();
    let script = r#"exec 3<>"/dev/tcp/$1/$2" && printf 'GET %s HTTP/1.0\r\nHost: node\r\n\r\n' "$3" >&3 && cat <&3"#;
    let mut command = tokio::process::Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).args(["--", "bash", "-c", script, "get", host, port, path]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(5), command.output()).await;
    let output = output.map_err(|_| format!("no answer from {address}"))?.map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(format!("no answer from {address}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Hosts on one switch; this process is on it too. All gone when dropped.
#[derive(Debug)]
pub(crate) struct Network {
    name: String,
    pub(crate) hosts: Vec<Host>,
}

impl Network {
    /// Makes `hosts` hosts. `None`, with a line that says so, where this machine does not let us: then the suite is
    /// skipped, but not with `CI=true`, where nobody would notice.
    pub(crate) fn find(suite: &str, hosts: u8) -> Option<Self> {
        use std::io::Write as _;
        sweep();
        let reason = match Self::try_make(hosts) {
            Ok(network) => return Some(network),
            Err(reason) => reason,
        };
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{suite}: {reason}");
        // Not by `eprintln!`, which the test program keeps to itself when all is well.
        writeln!(std::io::stderr().lock(), "skipped: {suite}: no network namespaces: {reason}").unwrap();
        None
    }

    fn try_make(hosts: u8) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("they need root".to_owned());
        }
        if Command::new("ip").arg("-V").output().is_err() {
            return Err("there is no `ip` (Debian package iproute2); ./prove installs it".to_owned());
        }
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}x{made}", std::process::id());
        let third = u8::try_from((std::process::id() + made) % 250).unwrap();
        let mut network = Self { name, hosts: Vec::new() };
        let bridge = network.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("198.18.{third}.1/24"), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for number in 0..hosts {
            let (namespace, cable) = (network.namespace(number), network.cable(number));
            let address = Ipv4Addr::new(198, 18, third, 10 + number);
            network.hosts.push(Host { address, namespace: Some(namespace.clone()), disk_bytes: None });
            ip(&["netns", "add", &namespace])?;
            ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
            ip(&["link", "set", &cable, "master", &bridge, "up"])?;
            ip(&["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        }
        Ok(network)
    }

    /// From now on nothing that the one host sends reaches the other.
    pub(crate) fn cut(&self, from: usize, to: usize) {
        self.route(from, to, "add").unwrap();
    }

    /// No two hosts of different groups hear each other.
    pub(crate) fn part(&self, one: &[usize], other: &[usize]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.cut(a, b);
            self.cut(b, a);
        }
    }

    /// Everybody hears everybody again.
    pub(crate) fn heal(&self) {
        for from in 0..self.hosts.len() {
            for to in 0..self.hosts.len() {
                // Most were not cut.
                let _ = self.route(from, to, "del");
            }
        }
    }

    /// Whether what the one host sends to the other is lost.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        let namespace = self.hosts[from].namespace.as_ref().unwrap();
        ip(&["-n", namespace, "route", "get", &self.hosts[to].address.to_string()]).is_err()
    }

    fn route(&self, from: usize, to: usize, what: &str) -> Result<(), String> {
        let namespace = self.hosts[from].namespace.as_ref().unwrap();
        ip(&["-n", namespace, "route", what, "blackhole", &format!("{}/32", self.hosts[to].address)])
    }

    fn bridge(&self) -> String {
        format!("{}b", self.name)
    }

    fn cable(&self, number: u8) -> String {
        format!("{}v{number}", self.name)
    }

    fn namespace(&self, number: u8) -> String {
        format!("{}n{number}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in (0u8..).take(self.hosts.len()) {
            // What was not made cannot be removed.
            let _ = ip(&["link", "del", &self.cable(number)]);
            let _ = ip(&["netns", "del", &self.namespace(number)]);
        }
        let _ = ip(&["link", "del", &self.bridge()]);
    }
}

/// Removes what runs that were killed have left.
fn sweep() {
    let names = |folder: &str| {
        let items = std::fs::read_dir(folder).into_iter().flatten().flatten();
        items.filter_map(|item| item.file_name().into_string().ok()).filter(|name| is_left(name)).collect::<Vec<_>>()
    };
    for name in names("/sys/class/net") {
        let _ = ip(&["link", "del", &name]);
    }
    for name in names("/run/netns") {
        let _ = ip(&["netns", "del", &name]);
    }
}

/// Whether a name is one of ours and its maker is gone.
fn is_left(name: &str) -> bool {
    let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x')).map(|(maker, _)| maker);
    maker.is_some_and(|maker| maker.parse::<u32>().is_ok() && !Path::new("/proc").join(maker).exists())
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let said = foreign(Path::new("ip"), arguments);
    if said.code == Some(0) { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), said.stderr.trim())) }
}

/// A file system in memory that can be filled up. Unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Whether one can be mounted. If not, a line says so: then the suite is skipped, but not with `CI=true`, where nobody
    /// would notice.
    pub(crate) fn available(suite: &str) -> bool {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).output();
        let reason = match mounted {
            Ok(output) if output.status.success() => {
                let _ = Command::new("umount").arg(folder.path()).status();
                return true;
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(cause) => format!("mount: {cause}"),
        };
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{suite}: {reason}");
        // Not by `eprintln!`, which the test program keeps to itself when all is well.
        writeln!(std::io::stderr().lock(), "skipped: {suite}: no file system can be mounted: {reason}").unwrap();
        false
    }

    /// Mounts one of `bytes` at `path`, which is made.
    pub(crate) fn mount(path: &Path, bytes: u64) -> Self {
        std::fs::create_dir(path).unwrap();
        let path = path.to_owned();
        let size = format!("size={bytes},mode=0700");
        foreign(Path::new("mount"), &["-t", "tmpfs", "-o", &size, "tmpfs", path.to_str().unwrap()]).done();
        Self { path }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// Of every name of ours: at most 15 bytes are left for the whole, and the process id and a number follow.
const PREFIX: &str = "sgn";
