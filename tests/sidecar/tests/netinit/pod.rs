//! A pod's network, and beyond its one interface the servers that it may or may not reach.
//! Whoever answers says its name and where the connection was going, so that an answer proves the way it took.

use countersign_rig::{Net, original_destination};
use countersign_sidecar_tests::authbridge::program;
use countersign_sidecar_tests::folder::Folder;
use countersign_sidecar_tests::process::until;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// The user of the proxy.
pub(crate) const PROXY: u32 = 1337;
/// Any other.
pub(crate) const AGENT: u32 = 1000;
/// A user whose packets get a mesh's mark, by a rule of the test as ztunnel does it on its sockets.
pub(crate) const MESH: u32 = 4242;
/// The addresses of the pod.
pub(crate) const POD: [&str; 2] = ["10.77.0.2", "fd77::2"];
/// Addresses beyond the interface: two of servers, one of DNS, in both families.
pub(crate) const SERVER: [&str; 2] = ["203.0.113.5", "2001:db8::5"];
pub(crate) const OTHER: [&str; 2] = ["203.0.113.6", "2001:db8::6"];
pub(crate) const DNS: [&str; 2] = ["10.77.0.53", "fd77::53"];
/// What Istio gives probes as their source.
pub(crate) const PROBE: [&str; 2] = ["169.254.7.127", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"];

/// A packet on these networks takes microseconds; what has not come after this does not come.
const SILENCE: Duration = Duration::from_millis(600);
/// Long enough for the kernel to try a second time to connect.
const CONNECT: Duration = Duration::from_millis(1500);
/// How often an unanswered question is repeated.
const QUESTIONS: usize = 3;

/// Both networks.
pub(crate) struct Pod {
    pub(crate) inside: Net,
    pub(crate) outside: Net,
    folder: Folder,
}

/// `address:port`, with brackets where they belong.
pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

impl Pod {
    pub(crate) fn new() -> Self {
        let (inside, outside) = (Net::create().unwrap(), Net::create().unwrap());
        let folder = Folder::new("netinit").unwrap();
        folder.write("resolv.conf", format!("nameserver {}\nnameserver {}\n", DNS[0], DNS[1])).unwrap();
        let pod = Self { inside, outside, folder };
        let pair = format!("ip link add eth0 type veth peer name eth0 netns {}", pod.outside.path());
        sh(&pod.inside, &pair);
        // A pod takes over that its node forwards: nothing may come of that.
        sh(
            &pod.inside,
            "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
        );
        let addresses = |at: &[&str]| -> String {
            let add = |address: &&str| {
                let rest = if address.contains(':') { "/64 dev eth0 nodad" } else { "/24 dev eth0" };
                format!("ip addr add {address}{rest}\n")
            };
            at.iter().map(add).collect()
        };
        let script = addresses(&[&["10.77.0.1", "fd77::1"], &DNS[..], &SERVER, &OTHER, &PROBE].concat());
        sh(&pod.outside, &format!("ip link set eth0 up\n{script}"));
        let routes = "ip route add default via 10.77.0.1\nip -6 route add default via fd77::1\n";
        sh(&pod.inside, &format!("ip link set eth0 up\n{}{routes}", addresses(&POD)));
        // Interfaces come up, and neighbours are found, a moment after they are told to.
        let there = |address| call(at(address, 1)) == "connection refused";
        for address in ["10.77.0.1", "fd77::1", DNS[0], DNS[1]] {
            let found = || pod.inside.inside(None, || there(address));
            until(address, Duration::from_secs(20), found).unwrap();
        }
        pod
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    /// A file beside it.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        self.folder.write(name, text).unwrap().display().to_string()
    }

    /// Runs the program in the pod, with all of root's rights or without the one it needs.
    pub(crate) fn try_netinit(&self, arguments: &[&str], rights: bool) -> Output {
        self.try_netinit_with(&self.resolv_conf().display().to_string(), arguments, rights)
    }

    /// The same with another file of DNS servers.
    pub(crate) fn try_netinit_with(&self, resolv_conf: &str, arguments: &[&str], rights: bool) -> Output {
        let mut command = Command::new("setpriv");
        if !rights {
            command.arg("--bounding-set=-net_admin");
        }
        command.arg(program()).args(["netinit", "--resolv-conf", resolv_conf]).args(arguments);
        self.inside.inside(None, || command.output()).unwrap().unwrap()
    }

    /// Installs rules.
    pub(crate) fn netinit(&self, arguments: &[&str]) {
        let done = self.try_netinit(arguments, true);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Installs the rules of a mode that confines the pod.
    pub(crate) fn enforce(&self) {
        self.netinit(&["--mode", "enforce-redirect", "--agent-port", "8001"]);
    }

    /// All rules of the pod.
    pub(crate) fn rules(&self) -> String {
        sh(&self.inside, "nft list ruleset")
    }

    /// Does something in the pod as the agent.
    pub(crate) fn as_agent<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.inside.inside(Some(AGENT), act).unwrap()
    }

    /// Does something in the pod as the proxy.
    pub(crate) fn as_proxy<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.inside.inside(Some(PROXY), act).unwrap()
    }

    /// Marks what the user of the mesh sends.
    pub(crate) fn mark_mesh(&self) {
        let chain = "'{ type route hook output priority -190; meta skuid 4242 meta mark set 0x539; }'";
        sh(&self.inside, &format!("nft add table inet mesh; nft add chain inet mesh marks {chain}"));
    }

    /// Does something in the pod as the mesh.
    pub(crate) fn as_mesh<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.inside.inside(Some(MESH), act).unwrap()
    }

    /// Does something outside.
    pub(crate) fn beyond<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.outside.inside(None, act).unwrap()
    }
}

/// Runs a script in a network; what it says.
pub(crate) fn sh(net: &Net, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]);
    let done = net.inside(None, || command.output()).unwrap().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Listens at a port of every address, until the test program ends, and tells each caller `name` and where its
/// connection was going; then it repeats what it is told.
pub(crate) fn listen(net: &Net, name: &'static str, port: u16) {
    listen_at(net, name, at("::", port));
}

/// The same at one address.
pub(crate) fn listen_at(net: &Net, name: &'static str, address: SocketAddr) {
    let listener = net.inside(None, || TcpListener::bind(address)).unwrap().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let destination = original_destination(&stream).unwrap();
            std::thread::spawn(move || {
                let _ = stream.write_all(format!("{name} {destination}\n").as_bytes());
                let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
            });
        }
    });
}

/// Answers datagrams at an address, until the test program ends.
pub(crate) fn listen_udp(net: &Net, address: SocketAddr) {
    let socket = net.inside(None, || UdpSocket::bind(address)).unwrap().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    });
}

/// Who answers at an address, or why nobody does.
pub(crate) fn call(address: SocketAddr) -> String {
    match TcpStream::connect_timeout(&address, CONNECT) {
        Ok(mut stream) => line(&mut stream),
        Err(error) => error.kind().to_string(),
    }
}

/// What comes up to the end of a line, or until nothing comes.
pub(crate) fn line(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let mut line = String::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte != [b'\n'] {
        line.push(char::from(byte[0]));
    }
    line
}

/// True if a datagram is answered.
pub(crate) fn udp_answers(address: SocketAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    udp_answers_from(&UdpSocket::bind(any).unwrap(), address)
}

/// The same by a socket that there is.
pub(crate) fn udp_answers_from(socket: &UdpSocket, address: SocketAddr) -> bool {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    // The kernel may say at once that it is not allowed.
    let attempt = || socket.send_to(b"?", address).is_ok() && socket.recv_from(&mut [0]).is_ok();
    (0..QUESTIONS).any(|_| attempt())
}
