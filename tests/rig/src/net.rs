//! A network of its own with nothing in it but loopback, for tests of kernel rules with real packets.
//! It lasts as long as this value, or a thread or process that was started inside.

use anyhow::{Context, Result};
use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
use rustix::process::{Gid, Uid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};

/// A network namespace.
pub struct Net {
    namespace: File,
}

impl Net {
    /// Makes one. Its loopback interface is up.
    pub fn create() -> Result<Self> {
        let script = "ip link set lo up && echo ready && read -r _";
        let mut maker = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare (package util-linux) could not be started")?;
        let mut answer = String::new();
        if let Some(output) = maker.stdout.take() {
            BufReader::new(output).read_line(&mut answer)?;
        }
        let namespace = File::open(format!("/proc/{}/ns/net", maker.id()));
        // Whoever made it may go: the open file keeps it.
        drop(maker.stdin.take());
        maker.wait()?;
        anyhow::ensure!(answer == "ready\n", "no network could be made; that needs root and iproute2");
        Ok(Self { namespace: namespace.context("the network of the process that made it")? })
    }

    /// A path by which `ip link … netns PATH` finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }

    /// Does something inside, as `user` if there is one. Threads and processes that it starts are inside as well.
    pub fn inside<T: Send>(&self, user: Option<u32>, act: impl FnOnce() -> T + Send) -> Result<T> {
        let enter = || -> std::io::Result<()> {
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            if let Some(user) = user {
                // Of this thread alone, which then ends.
                let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
                set_thread_groups(&[])?;
                set_thread_res_gid(gid, gid, gid)?;
                set_thread_res_uid(uid, uid, uid)?;
            }
            Ok(())
        };
        let done = std::thread::scope(|scope| scope.spawn(|| enter().map(|()| act())).join());
        match done {
            Ok(done) => done.context("the network could not be entered"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Where a connection was going before the kernel redirected it, or where it arrived if it was not.
pub fn original_destination(stream: &TcpStream) -> std::io::Result<SocketAddr> {
    let four = ip_original_dst(stream).map(SocketAddr::V4);
    let found = four.or_else(|_| ipv6_original_dst(stream).map(SocketAddr::V6));
    let local = || stream.local_addr().map(|local| SocketAddr::new(local.ip().to_canonical(), local.port()));
    found.or_else(|_| local())
}
